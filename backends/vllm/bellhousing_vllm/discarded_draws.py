"""Draws that vLLM throws away, where a processor draws them.

A prompt that is prefilled in parts ends each part with a draw that nobody wants. vLLM then turns the generator of a
request with a seed back, by the offset that a draw takes on a GPU. A CPU's generator has no offset: `_bookkeeping_sync`
raises, and the engine of vLLM 0.32 ends with all its requests. Here the state from before the draw is put back instead,
so that a seed draws the same whether its prompt was cut or not.
"""

from typing import Any


class DiscardedDraws:
    """Stands before what draws tokens in a model runner, and before what keeps the books of them."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._draw, self._book = runner._sample, runner._bookkeeping_sync  # noqa: SLF001 - vLLM shows them in no other way
        self._before: dict[int, Any] = {}

    @classmethod
    def put_back(cls, runner: Any) -> None:
        """Put discarded draws back from now on. Raises `AttributeError` where vLLM has other names."""
        guard = cls(runner)
        runner._sample, runner._bookkeeping_sync = guard.draw, guard.book  # noqa: SLF001 - as above

    def draw(self, *arguments: Any, **named: Any) -> Any:
        """Draw a token for each request, and remember the generators of those whose token will be discarded."""
        batch, discarded = self._runner.input_batch, self._runner.discard_request_mask.np
        generators = batch.generators.items()
        self._before = {i: g.get_state() for i, g in generators if i < batch.num_reqs and discarded[i]}
        return self._draw(*arguments, **named)

    def book(self, *arguments: Any, **named: Any) -> Any:
        """Keep the books of a step, with discarded draws put back; vLLM sees no generator to turn back."""
        generators, before, self._before = self._runner.input_batch.generators, self._before, {}
        hidden = {place: generators.pop(place) for place in before}
        for place, generator in hidden.items():
            generator.set_state(before[place])
        try:
            return self._book(*arguments, **named)
        finally:
            generators.update(hidden)

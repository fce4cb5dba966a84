"""A greedy output that is known, so that the same request with a stop has one right answer."""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

from bellhousing_conformance.calls import Run
from bellhousing_conformance.probe import Probe


@dataclass(frozen=True, slots=True)
class Known:
    """A greedy output without stops. `tokens` and `characters` are how much of it there was after each delta."""

    prompt: str
    length: int
    run: Run
    text: str
    tokens: tuple[int, ...]
    characters: tuple[int, ...]

    async def again(self, probe: Probe, stop: list[str], *, include_stop: bool = False) -> Run:
        """Return the same generation with stop strings, each delta as the engine makes it."""
        return await probe.generate(
            self.prompt,
            max_tokens=self.length,
            temperature=0.0,
            coalescing=False,
            stop=stop,
            include_stop=include_stop,
        )

    def tokens_to(self, end: int) -> int:
        """Return the tokens of the deltas that make the first `end` characters."""
        return self.tokens[bisect_left(self.characters, end)]

    def characters_of(self, tokens: int) -> int:
        """Return the characters that are whole after so many tokens."""
        return max((c for t, c in zip(self.tokens, self.characters, strict=True) if t <= tokens), default=0)


async def known_output(probe: Probe, length: int = 32) -> Known:
    """Return a greedy output; its prompt is in a prefix cache, so that all later ones run alike."""
    prompt = probe.prompt()
    await probe.fill_cache(probe.request(prompt, temperature=0.0))
    run = await probe.generate(prompt, max_tokens=length, temperature=0.0, coalescing=False)
    deltas = run.deltas()
    tokens = tuple(accumulate(delta.token_count for delta in deltas))
    characters = tuple(accumulate(len(delta.text) for delta in deltas))
    return Known(prompt, length, run, run.text(), tokens, characters)


def piece(probe: Probe, text: str, *, shortest: int, longest: int) -> str:
    """Return a random piece of a text; all of it when it is shorter than `shortest`."""
    length = min(len(text), probe.random.randint(shortest, longest))
    place = probe.random.randint(0, len(text) - length)
    return text[place : place + length]


def held_back(text: str, stop: str) -> int:
    """Return the length of the longest end of a text that is a proper prefix of a stop string."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)

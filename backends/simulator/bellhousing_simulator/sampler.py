"""Drawing tokens: cumulative tables, shared between requests, and one sequence of a request."""

from bisect import bisect_right
from collections.abc import Sequence as Ids
from dataclasses import replace
from random import Random

from bellhousing.events import Delta, FinishReason
from bellhousing.requests import GenerationRequest, Sampling
from bellhousing_simulator.chain import Chain
from bellhousing_simulator.choice import Choice
from bellhousing_simulator.filters import Vector, is_history_needed
from bellhousing_simulator.vocabulary import EOS, STATES, deltas

TABLE_LIMIT = 32
"""Distinct sampling parameters of one chain whose tables are kept; the oldest go first."""

Key = tuple[object, ...]


class Table:
    """A distribution to draw from by one number: token ids and their cumulative probabilities."""

    def __init__(self, probabilities: Vector) -> None:
        self.tokens: list[int] = []
        self.cumulative: list[float] = []
        total = 0.0
        for token, probability in enumerate(probabilities):
            if total + probability > total:
                total += probability
                self.tokens.append(token)
                self.cumulative.append(total)
        self.cumulative[-1] = 1.0

    def draw(self, number: float) -> int:
        """Return the token at `number`, uniform in [0, 1)."""
        return self.tokens[bisect_right(self.cumulative, number)]


class Tables:
    """The tables of one sampling, by state, made when first needed."""

    def __init__(self, chain: Chain, sampling: Sampling) -> None:
        self._chain = chain
        self._sampling = sampling
        self._rows: list[Table | None] = [None] * (EOS + 1)

    def row(self, state: int) -> Table:
        """Return the table of the tokens that follow a state."""
        table = self._rows[state]
        if table is None:
            table = self._rows[state] = Table(self._chain.probabilities(state, self._sampling))
        return table


class Sampler:
    """A chain and the tables that its requests share."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self._tables: dict[Key, Tables] = {}

    def tables(self, sampling: Sampling, *, is_masked: bool) -> Tables:
        """Return the tables of a sampling without penalties, with the end token masked or not."""
        sampling = replace(sampling, min_tokens=None, ignore_eos=is_masked)
        key = _key(sampling)
        if key not in self._tables:
            if len(self._tables) >= TABLE_LIMIT:
                del self._tables[next(iter(self._tables))]
            self._tables[key] = Tables(self.chain, sampling)
        return self._tables[key]


def _key(sampling: Sampling) -> Key:
    bias = tuple(sorted((sampling.logit_bias or {}).items()))
    filters = (sampling.top_k, sampling.typical_p, sampling.top_p, sampling.min_p)
    return (sampling.temperature, *filters, sampling.ignore_eos, bias)


class Sequence:
    """One sequence of a request. `reason` is set once it has ended.

    Draws use one number of the sequence's own generator a token, so output depends on nothing but the request.
    """

    def __init__(self, request: GenerationRequest, index: int, sampler: Sampler, prompt: Ids[int], room: int) -> None:
        sampling = request.sampling
        self.index = index
        self.count = 0
        self.reason: FinishReason | None = None
        wanted = room if sampling.max_tokens is None else sampling.max_tokens
        self._limit = min(wanted, room)
        self._limit_reason: FinishReason = "max_tokens" if sampling.max_tokens == self._limit else "context_length"
        self._sampling = sampling
        self._chain = sampler.chain
        self._random = _generator(sampling.seed, index)
        self._prompt = prompt
        self._state = STATES[prompt[-1]] if prompt else EOS
        self._deltas = deltas(index)
        self._top = request.logprobs
        structure = request.structured_output
        self._choice = Choice(structure.options) if structure else None
        self._output: list[int] | None = [] if structure or is_history_needed(sampling) else None
        self._free = sampler.tables(sampling, is_masked=bool(sampling.ignore_eos))
        self._masked_until = sampling.min_tokens or 0
        self._masked = sampler.tables(sampling, is_masked=True) if self._masked_until else self._free

    def step(self) -> Delta | None:
        """Draw one token and return its delta; None when it is the end token."""
        token = self._draw()
        if token == EOS:
            self.reason = "eos"
            return None
        self.count += 1
        if self.count == self._limit:
            self.reason = self._limit_reason
        delta = self._deltas[token]
        if self._top is not None:
            entry = self._chain.token_logprob(self._state, token, self._top)
            delta = Delta(delta.text, delta.token_ids, 1, (entry,), self.index)
        self._state = STATES[token]
        return delta

    def _draw(self) -> int:
        number = self._random.random()
        if self._output is not None:
            return self._draw_with_history(self._output, number)
        tables = self._free if self.count >= self._masked_until else self._masked
        return tables.row(self._state).draw(number)

    def _draw_with_history(self, output: list[int], number: float) -> int:
        allowed = self._choice.allowed() if self._choice else None
        if allowed is not None and allowed == frozenset({EOS}):
            return EOS
        row = Table(
            self._chain.probabilities(self._state, self._sampling, prompt=self._prompt, output=output, allowed=allowed)
        )
        token = row.draw(number)
        output.append(token)
        if self._choice:
            self._choice.take(token)
        return token


def _generator(seed: int | None, index: int) -> Random:
    """Return the generator of a sequence: Python hashes the text of seed and index with SHA-512."""
    return Random(None if seed is None else f"{seed}/{index}")

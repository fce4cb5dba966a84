"""The model: a first-order Markov chain whose probabilities are known exactly. The public oracle of tests."""

import hashlib
import json
import math
from collections.abc import Collection, Sequence
from functools import lru_cache

from bellhousing.events import TokenLogprob, TopLogprob
from bellhousing.requests import Sampling
from bellhousing_simulator.filters import NEVER, Vector, distribution
from bellhousing_simulator.noise import noise
from bellhousing_simulator.vocabulary import EOS, FOLLOWERS, PIECES, STARTERS, STATES, VOCABULARY_SIZE, symbol

VERSION = "1"
"""Changes whenever the same seed would give other probabilities."""

SPREAD = 3.0
"""Logits of a row are uniform in [-SPREAD, SPREAD)."""

ADAPTER_SPREAD = 1.5
"""An adapter adds a number uniform in [-ADAPTER_SPREAD, ADAPTER_SPREAD) to each of them."""

UNLIKELY = -40.0
"""Logit of what the model does not write: byte tokens, and symbols that would break a character."""

FLAT = symbol(".")
"""After this symbol every one that may begin a character is equally probable."""

PEAKED = symbol("q")
PEAK = symbol("u")
PEAK_LOGIT = 7.0
"""After PEAKED, PEAK has this logit and the other symbols that may begin a character have 0."""

TOP_CACHE = 256
"""Lists of most probable tokens that are kept, each for a row and a length."""


class Chain:
    """The model with one adapter or none.

    `end_probability` is the probability of the end token in every row, at temperature 1 and without filters. With an
    adapter, rows that have a choice change by a function of its digest.
    """

    def __init__(self, weights_seed: int = 0, end_probability: float = 0.01, adapter_digest: str = "") -> None:
        self.weights_seed = weights_seed
        self.end_probability = end_probability
        self.adapter_digest = adapter_digest
        self._rows: dict[int, Vector] = {}
        self._raw: dict[int, _RawRow] = {}
        self._top = lru_cache(maxsize=TOP_CACHE)(self._best)

    @property
    def digest(self) -> str:
        """The digest of the weights without adapter: of everything that the probabilities depend on."""
        parameters = [VERSION, self.weights_seed, self.end_probability]
        return "sha256:" + hashlib.sha256(json.dumps(parameters).encode()).hexdigest()

    def logits(self, previous: int | None) -> Vector:
        """Return the logit of each token after the token `previous`; None is the start of a text."""
        state = _state(previous)
        if state not in self._rows:
            self._rows[state] = self._row(state)
        return self._rows[state]

    def logprobs(self, previous: int | None) -> Vector:
        """Return the natural logarithm of each token's probability, before temperature and filters."""
        return self._raw_row(_state(previous)).logprobs

    def probabilities(
        self,
        previous: int | None,
        sampling: Sampling | None = None,
        *,
        prompt: Sequence[int] = (),
        output: Sequence[int] = (),
        allowed: Collection[int] | None = None,
    ) -> Vector:
        """Return the probability of each token to be drawn after `previous`, with temperature, filters and masks.

        Penalties look at `prompt` and `output`, `min_tokens` at the length of `output`.
        """
        return distribution(
            self.logits(previous), sampling or Sampling(), prompt=prompt, output=output, allowed=allowed
        )

    def token_logprob(self, previous: int | None, token: int, top: int) -> TokenLogprob:
        """Return a token's log probability after `previous`, its rank and the `top` most probable tokens.

        It is the model's own: before temperature and filters. A token of probability 0 (the end token, when
        `end_probability` is 0) is not among the most probable ones.
        """
        state = _state(previous)
        row = self._raw_row(state)
        return TokenLogprob(PIECES[token], row.logprobs[token], token, row.ranks[token], self._top(state, top))

    def _best(self, state: int, count: int) -> tuple[TopLogprob, ...]:
        row = self._raw_row(state)
        best = [token for token in row.ranked[:count] if row.logprobs[token] > NEVER]
        return tuple([TopLogprob(PIECES[token], row.logprobs[token], token) for token in best])

    def _raw_row(self, state: int) -> "_RawRow":
        if state not in self._raw:
            self._raw[state] = _RawRow(self.logits(state))
        return self._raw[state]

    def _row(self, state: int) -> Vector:
        row = [UNLIKELY] * VOCABULARY_SIZE
        fitting = FOLLOWERS.get(state, STARTERS)
        for token, value in zip(fitting, self._values(state, len(fitting)), strict=True):
            row[token] = value
        row[EOS] = NEVER
        if self.end_probability > 0:
            odds = math.log(self.end_probability) - math.log1p(-self.end_probability)
            row[EOS] = log_sum_exp(row) + odds
        return tuple(row)

    def _values(self, state: int, count: int) -> Vector:
        """Return the logits of the tokens that fit after a state."""
        if state == FLAT:
            values = [0.0] * count
        elif state == PEAKED:
            values = [PEAK_LOGIT if token == PEAK else 0.0 for token in range(count)]
        else:
            values = [SPREAD * number for number in noise(f"weights/{self.weights_seed}/{state}", count)]
        if self.adapter_digest:
            changes = noise(f"adapter/{self.adapter_digest}/{self.weights_seed}/{state}", count)
            values = [value + ADAPTER_SPREAD * change for value, change in zip(values, changes, strict=True)]
        return tuple(values)


class _RawRow:
    """The raw log probabilities of one row, the tokens best first, and each token's rank from 1."""

    def __init__(self, logits: Vector) -> None:
        total = log_sum_exp(logits)
        self.logprobs: Vector = tuple([min(0.0, value - total) for value in logits])
        self.ranked = sorted(range(len(logits)), key=lambda token: -logits[token])
        places = {token: rank for rank, token in enumerate(self.ranked, 1)}
        self.ranks = tuple([places[token] for token in range(len(logits))])


def _state(previous: int | None) -> int:
    """Return the row that follows a token; None is the start of a text."""
    return STATES[EOS if previous is None else previous]


def log_sum_exp(values: Sequence[float]) -> float:
    """Return log(sum(exp(value))), without overflow."""
    highest = max(values)
    return highest + math.log(math.fsum(math.exp(value - highest) for value in values))

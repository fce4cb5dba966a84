"""From logits to the distribution that is drawn from, as pure functions.

The order: repetition penalty, presence and frequency penalties, logit_bias, masks; temperature; top_k, typical_p,
top_p, min_p. Each filter sees the renormalised result of the one before. Equal probabilities are ordered by token id.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from bellhousing.requests import Sampling
from bellhousing_simulator.vocabulary import EOS

Vector = tuple[float, ...]
"""One number for each token of the vocabulary, by id."""

NEVER = -math.inf
HIGHEST = 1e300
"""A repetition penalty near 0 raises a logit no further, so that differences of logits stay finite."""
ROUNDING = 1e-12
"""A sum of probabilities this near to a wanted mass has reached it."""


def distribution(
    logits: Vector,
    sampling: Sampling,
    *,
    prompt: Iterable[int] = (),
    output: Sequence[int] = (),
    allowed: Collection[int] | None = None,
) -> Vector:
    """Return the probability of each token to be drawn after `output`. With `allowed`, of these tokens only."""
    steps = penalise(logits, sampling, prompt=prompt, output=output)
    steps = bias(steps, sampling)
    steps = mask(steps, allowed=allowed, is_end_masked=is_end_masked(sampling, len(output)))
    return shape(steps, sampling)


def is_end_masked(sampling: Sampling, generated: int) -> bool:
    """Tell whether the end token cannot be drawn after `generated` tokens."""
    return bool(sampling.ignore_eos) or generated < (sampling.min_tokens or 0)


def is_history_needed(sampling: Sampling) -> bool:
    """Tell whether the distribution depends on more than the previous token."""
    penalty = sampling.repetition_penalty
    return bool((penalty is not None and penalty != 1) or sampling.presence_penalty or sampling.frequency_penalty)


def penalise(logits: Vector, sampling: Sampling, *, prompt: Iterable[int], output: Sequence[int]) -> Vector:
    """Apply the repetition penalty (prompt and output), then presence and frequency penalties (output only)."""
    if not is_history_needed(sampling):
        return logits
    changed = list(logits)
    factor = 1.0 if sampling.repetition_penalty is None else sampling.repetition_penalty
    for token in {*prompt, *output}:
        value = changed[token]
        changed[token] = min(value / factor, HIGHEST) if value > 0 else value * factor
    presence, frequency = sampling.presence_penalty or 0.0, sampling.frequency_penalty or 0.0
    for token, count in Counter(output).items():
        changed[token] -= presence + frequency * count
    return tuple(changed)


def bias(logits: Vector, sampling: Sampling) -> Vector:
    """Add `logit_bias`."""
    if not sampling.logit_bias:
        return logits
    changed = list(logits)
    for token, value in sampling.logit_bias.items():
        changed[token] += value
    return tuple(changed)


def mask(logits: Vector, *, allowed: Collection[int] | None = None, is_end_masked: bool = False) -> Vector:
    """Rule out every token that is not allowed, and the end token when it is masked."""
    if allowed is not None:
        logits = tuple([value if token in allowed else NEVER for token, value in enumerate(logits)])
    if is_end_masked:
        logits = (*logits[:EOS], NEVER, *logits[EOS + 1 :])
    return logits


def shape(logits: Vector, sampling: Sampling) -> Vector:
    """Apply the temperature and the filters."""
    probabilities = softmax(logits, 1.0 if sampling.temperature is None else sampling.temperature)
    probabilities = keep_top_k(probabilities, sampling.top_k or 0)
    probabilities = keep_typical(probabilities, 1.0 if sampling.typical_p is None else sampling.typical_p)
    probabilities = keep_top_p(probabilities, 1.0 if sampling.top_p is None else sampling.top_p)
    return keep_min_p(probabilities, sampling.min_p or 0.0)


def softmax(logits: Vector, temperature: float = 1.0) -> Vector:
    """Return softmax(logits / temperature); for 0 the most probable token has it all, the lowest id of equals."""
    highest = max(logits)
    if temperature == 0:
        best = logits.index(highest)
        return tuple([float(token == best) for token in range(len(logits))])
    weights = [math.exp((value - highest) / temperature) for value in logits]
    total = math.fsum(weights)
    return tuple([weight / total for weight in weights])


def keep_top_k(probabilities: Vector, count: int) -> Vector:
    """Keep the `count` most probable tokens; 0 keeps all."""
    if not 0 < count < len(probabilities):
        return probabilities
    return _keep(probabilities, _ranked(probabilities)[:count])


def keep_typical(probabilities: Vector, mass: float) -> Vector:
    """Keep the smallest set of tokens, those with surprise nearest to the entropy first, that reaches `mass`.

    Source: Meister et al., 2022, arXiv:2202.00666.
    """
    if mass >= 1:
        return probabilities
    possible = [token for token, p in enumerate(probabilities) if p > 0]
    entropy = -math.fsum(probabilities[token] * math.log(probabilities[token]) for token in possible)
    possible.sort(key=lambda token: abs(-math.log(probabilities[token]) - entropy))
    return _keep(probabilities, _reaching(probabilities, possible, mass))


def keep_top_p(probabilities: Vector, mass: float) -> Vector:
    """Keep the smallest set of most probable tokens that reaches `mass`."""
    if mass >= 1:
        return probabilities
    return _keep(probabilities, _reaching(probabilities, _ranked(probabilities), mass))


def keep_min_p(probabilities: Vector, share: float) -> Vector:
    """Keep the tokens at least `share` times as probable as the most probable one."""
    if share <= 0:
        return probabilities
    least = share * max(probabilities) * (1 - ROUNDING)
    return _keep(probabilities, [token for token, p in enumerate(probabilities) if p >= least])


def _ranked(probabilities: Vector) -> list[int]:
    """Return the token ids, most probable first; equal ones by id."""
    return sorted(range(len(probabilities)), key=lambda token: -probabilities[token])


def _reaching(probabilities: Vector, order: list[int], mass: float) -> list[int]:
    """Return the shortest beginning of `order` whose probabilities reach `mass`."""
    total = 0.0
    for position, token in enumerate(order):
        total += probabilities[token]
        if total >= mass - ROUNDING:
            return order[: position + 1]
    return order


def _keep(probabilities: Vector, tokens: Iterable[int]) -> Vector:
    """Return the probabilities of these tokens, renormalised, and 0 for the others."""
    kept = [0.0] * len(probabilities)
    for token in tokens:
        kept[token] = probabilities[token]
    total = math.fsum(kept)
    return tuple([p / total for p in kept])

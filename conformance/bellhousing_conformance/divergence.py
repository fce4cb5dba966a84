"""How far one distribution of the next token is from another, and what the mean over many places is."""

import math
from collections.abc import Mapping, Sequence

from bellhousing_conformance.stats import wilson

LEAST_REST = 1e-6
"""Mass below it is rounding: the rest that neither side tells is at least this."""

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 1

Logprobs = Mapping[str, float]
"""Natural log probabilities by token id, as JSON has them."""


def divergence(reference: Logprobs, told: Logprobs) -> float:
    """Return KL(reference || told) over the tokens that both tell, with everything else as one more outcome.

    Joining outcomes only lowers a divergence, so this is a lower bound of the whole one, near it when the tokens that
    both tell have most of the mass (Cover and Thomas, 2006, section 2.8).
    """
    both = reference.keys() & told.keys()
    terms = [math.exp(reference[key]) * (reference[key] - told[key]) for key in both]
    rests = [max(LEAST_REST, 1 - math.fsum(math.exp(side[key]) for key in both)) for side in (reference, told)]
    return max(0.0, math.fsum(terms) + rests[0] * math.log(rests[0] / rests[1]))


def mean_interval(groups: Sequence[Sequence[float]], confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """Return the mean of all values, and one-sided lower and upper bounds of it, each at `confidence`.

    The values of a group depend on each other, so groups are resampled whole, a fixed seed
    (percentile bootstrap; Davison and Hinkley, 1997, section 3.8). Raises `ValueError` without values.
    """
    import numpy as np

    kept = [group for group in groups if group]
    if not kept:
        raise ValueError("expected at least one value, found none")
    sums, sizes = np.array([math.fsum(group) for group in kept]), np.array([len(group) for group in kept])
    places = np.random.default_rng(SEED).integers(0, len(kept), (RESAMPLES, len(kept)))
    means = sums[places].sum(axis=1) / sizes[places].sum(axis=1)
    low, high = np.quantile(means, (1 - confidence, confidence))
    return float(sums.sum() / sizes.sum()), float(low), float(high)


def share_interval(successes: int, n: int) -> tuple[float, float]:
    """Return one-sided 95 % bounds of a share, by Wilson's score. Raises `ValueError` without trials."""
    return wilson(successes, n, confidence=2 * CONFIDENCE - 1)

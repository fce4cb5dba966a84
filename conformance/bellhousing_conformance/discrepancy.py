"""Maximum mean discrepancy between two sets of token sequences, in strata, with a permutation test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bellhousing_conformance.divergence import mean_interval

PERMUTATIONS = 1999
"""The smallest p value is one over one more: below the level of the second stage."""

END = -1
"""Stands for every place after the end of a sequence."""

ROUNDING = 1e-9
POWER_QUANTILE = 1.2816
"""Of the normal law: what a test finds with probability 0.9 lies this many deviations beyond its level."""

Sequences = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """The unbiased estimate of the squared discrepancy, its mean over strata, and its p value.

    `minimum_effect` is the smallest one that a test at the level it was made for finds with probability 0.9, taking its
    spread to be that of the permutations. `effect` is the value relative to the kernel's mean within a side, with
    one-sided 95 % bounds by bootstrap over strata.
    """

    n: int
    strata: int
    value: float
    p_value: float
    minimum_effect: float
    effect: float
    low: float
    high: float


def discrepancy(
    strata: Sequence[tuple[Sequences, Sequences]], length: int, *, seed: int, alpha: float, neighbours: bool
) -> Discrepancy:
    """Test whether in each stratum both sets come from one distribution (Gretton et al., 2012, JMLR 13:723, lemma 6).

    The kernel of two sequences is the share of the first `length` places at which they agree; with `neighbours` also of
    the pairs of places in a row, so that the distributions of tokens and of pairs are compared. Shorter sequences are
    filled with `END`. Members are exchanged within their stratum alone. Both sets of a stratum must be of one size.
    Raises `ValueError` when they are not, or there are none.
    """
    import numpy as np

    if not strata or any(len(a) != len(b) or len(a) < 2 for a, b in strata):
        raise ValueError("expected strata of two sets of one size, at least 2")
    draws = np.random.RandomState(seed)  # its stream is frozen: `verify` must find the same p value
    found, within, permuted = [], [], np.zeros(PERMUTATIONS)
    for left, right in strata:
        size = len(left)
        kernel = _kernel([*left, *right], length, neighbours=neighbours)
        order = np.argsort(draws.random_sample((PERMUTATIONS, 2 * size)), axis=1)
        estimates = _estimates(kernel, np.vstack([np.arange(2 * size) < size, order < size]) * 2.0 - 1.0)
        found.append(float(estimates[0]))
        permuted += estimates[1:] / len(strata)
        within.append(_mean_within(kernel))
    observed, scale = float(np.mean(found)), float(np.mean(within)) or 1.0
    p_value = (1 + int((permuted >= observed - ROUNDING).sum())) / (PERMUTATIONS + 1)
    smallest = float(np.quantile(permuted, 1 - alpha) + POWER_QUANTILE * permuted.std())
    effect, low, high = mean_interval([[value / scale] for value in found])
    n = sum(len(a) + len(b) for a, b in strata)
    return Discrepancy(n, len(strata), observed, p_value, smallest, effect, low, high)


def _kernel(sequences: Sequences, length: int, *, neighbours: bool) -> Any:
    """Return the kernel of all pairs, 0 on the diagonal: no sequence is compared with itself."""
    import numpy as np

    padded = np.array([[*ids[:length], *[END] * (length - len(ids))] for ids in sequences])
    agree = padded[:, None, :] == padded[None, :, :]
    kernel = agree.sum(axis=2) / length
    if neighbours:
        kernel += (agree[:, :, 1:] & agree[:, :, :-1]).sum(axis=2) / length
    np.fill_diagonal(kernel, 0.0)
    return kernel


def _estimates(kernel: Any, sides: Any) -> Any:
    """Return the squared discrepancy for each row of `sides`, which has 1 for one side and -1 for the other."""
    size = len(kernel) // 2
    signed, total = ((sides @ kernel) * sides).sum(axis=1), kernel.sum()
    return (total + signed) / 2 / (size * (size - 1)) - (total - signed) / 2 / size**2


def _mean_within(kernel: Any) -> float:
    size = len(kernel) // 2
    return float((kernel[:size, :size].sum() + kernel[size:, size:].sum()) / (2 * size * (size - 1)))

"""Maximum mean discrepancy between two sets of token sequences, in strata, with a permutation test."""

from collections.abc import Sequence
from dataclasses import dataclass

PERMUTATIONS = 1999
"""The smallest p value is one over one more: below the level of the second stage."""

END = -1
"""Stands for every place after the end of a sequence."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """The unbiased estimate of the squared discrepancy, summed over strata, and its p value.

    `minimum_effect` is the smallest one that a test at the level it was made for finds with probability 0.9, taking its
    spread to be that of the permutations.
    """

    value: float
    p_value: float
    minimum_effect: float


def discrepancy(
    strata: Sequence[tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]]], seed: int, alpha: float
) -> Discrepancy:
    """Test whether in each stratum both sets come from one distribution (Gretton et al., 2012, JMLR 13:723).

    The kernel of two sequences counts the places at which they agree, and the neighbouring pairs of places at which
    they do: it compares the distributions of tokens and of pairs, where samples of this size have power. Shorter
    sequences are filled with `END`. Members are exchanged within their stratum alone. Both sets of a stratum must be of
    one size. Raises `ValueError` when they are not, or there are none.
    """
    import numpy as np

    if not strata or any(len(a) != len(b) or len(a) < 2 for a, b in strata):
        raise ValueError("expected strata of two sets of one size, at least 2")
    length = max(len(sequence) for pair in strata for half in pair for sequence in half)
    draws = np.random.RandomState(seed)  # its stream is frozen: `verify` must find the same p value
    totals = np.zeros(PERMUTATIONS + 1)
    for left, right in strata:
        size = len(left)
        rows = np.array([[*sequence, *[END] * (length - len(sequence))] for sequence in (*left, *right)])
        agree = rows[:, None, :] == rows[None, :, :]
        kernel = (agree.sum(axis=2) + (agree[:, :, 1:] & agree[:, :, :-1]).sum(axis=2)).astype(float)
        np.fill_diagonal(kernel, 0.0)
        order = np.argsort(draws.random_sample((PERMUTATIONS, 2 * size)), axis=1)
        is_left = np.vstack([np.arange(2 * size) < size, order < size]).astype(float)
        totals += _estimates(kernel, is_left, size)
    observed, permuted = float(totals[0]), totals[1:]
    p_value = (1 + int((permuted >= observed).sum())) / (PERMUTATIONS + 1)
    smallest = float(np.quantile(permuted, 1 - alpha) + 1.2816 * permuted.std())
    return Discrepancy(observed, p_value, smallest)


def _estimates(kernel, is_left, size: int):  # type: ignore[no-untyped-def] # numpy is not imported at the module's top
    """Return the unbiased estimate for each assignment of members to the two sets."""
    is_right = 1 - is_left
    within = ((is_left @ kernel) * is_left + (is_right @ kernel) * is_right).sum(axis=1) / (size * (size - 1))
    between = ((is_left @ kernel) * is_right).sum(axis=1) / size**2
    return within - 2 * between

"""Maximum mean discrepancy between two sets of token sequences, stratified by prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bellhousing_conformance.divergence import mean_interval

PERMUTATIONS = 1999
"""Enough for a p-value below the smallest level of the suite."""

SEED = 1
ENDED = -1
"""Stands for the tokens that a sequence lacks."""

ROUNDING = 1e-9

Sequences = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """The outcome of a comparison. `effect` is MMD² relative to the kernel's mean within a side, with bounds."""

    n: int
    strata: int
    p_value: float
    effect: float
    low: float
    high: float


def discrepancy(pairs: Sequence[tuple[Sequences, Sequences]], length: int) -> Discrepancy:
    """Compare two sides, given for each prompt, by the share of the first `length` places with the same token.

    MMD² is the unbiased estimate (Gretton et al., 2012, lemma 6); with this kernel it is the squared distance of the
    two sides' token probabilities, averaged over places. The p-value permutes sides within each prompt. Bounds are
    one-sided at 95 %, by bootstrap over prompts. Raises `ValueError` unless both sides have equally many sequences for
    a prompt, at least two.
    """
    import numpy as np

    if not pairs or any(len(left) != len(right) or len(left) < 2 for left, right in pairs):
        raise ValueError("expected as many sequences of each side for every prompt, at least two")
    kernels = [_kernel([*left, *right], length) for left, right in pairs]
    random = np.random.default_rng(SEED)
    found, within, permuted = [], [], np.zeros(PERMUTATIONS)
    for kernel in kernels:
        sides = np.repeat((1.0, -1.0), len(kernel) // 2)
        found.append(float(_squared(kernel, sides[None])[0]))
        within.append(_mean_within(kernel))
        permuted += _squared(kernel, random.permuted(np.tile(sides, (PERMUTATIONS, 1)), axis=1))
    above = int((permuted >= sum(found) - ROUNDING).sum()) + 1
    scale = float(np.mean(within)) or 1.0
    mean, low, high = mean_interval([[value / scale] for value in found])
    n = sum(len(kernel) for kernel in kernels)
    return Discrepancy(n, len(pairs), above / (PERMUTATIONS + 1), mean, low, high)


def _kernel(sequences: Sequences, length: int) -> Any:
    """Return the kernel of all pairs, 0 on the diagonal: no sequence is compared with itself."""
    import numpy as np

    padded = np.array([[*ids[:length], *[ENDED] * (length - len(ids))] for ids in sequences])
    kernel = (padded[:, None, :] == padded[None, :, :]).mean(axis=2)
    np.fill_diagonal(kernel, 0.0)
    return kernel


def _squared(kernel: Any, sides: Any) -> Any:
    """Return MMD² for each row of `sides`, which has 1 for one side and -1 for the other."""
    size = len(kernel) // 2
    signed, total = ((sides @ kernel) * sides).sum(axis=1), kernel.sum()
    return (total + signed) / 2 / (size * (size - 1)) - (total - signed) / 2 / size**2


def _mean_within(kernel: Any) -> float:
    size = len(kernel) // 2
    return float((kernel[:size, :size].sum() + kernel[size:, size:].sum()) / (2 * size * (size - 1)))

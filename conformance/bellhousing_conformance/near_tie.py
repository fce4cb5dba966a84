"""The near-tie rule: greedy outputs may part only where the two best tokens are nearly equal."""

from collections.abc import Sequence

TOLERANCES = {"float64": 0.02, "float32": 0.02, "bfloat16": 0.4, "float16": 0.15}
"""Largest gap, in nats, that counts as a tie, by precision. docs/conformance/statistics.md tells what was measured."""
QUANTISED_TOLERANCE = 0.4
"""The same with quantised weights, whose sums are of 16 bits or fewer."""


def tolerance_at(precision: str) -> float:
    """Return the largest gap, in nats, that counts as a tie at a precision as a model declares it."""
    return TOLERANCES.get(precision.lower(), QUANTISED_TOLERANCE)


def first_divergence(left: Sequence[object], right: Sequence[object]) -> int | None:
    """Return the first place where two outputs differ, perhaps the end of the shorter; None when they are equal."""
    for place, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return place
    return None if len(left) == len(right) else min(len(left), len(right))


def is_near_tie(logprobs: Sequence[float], tolerance: float) -> bool:
    """Tell whether the two greatest of the log probabilities at a place are within `tolerance` nats.

    Raises `ValueError` with fewer than two.
    """
    if len(logprobs) < 2:
        raise ValueError(f"expected at least two log probabilities, found {len(logprobs)}")
    best, second = sorted(logprobs, reverse=True)[:2]
    return best - second <= tolerance

"""What may be asked of a model by the precision of its weights: tiers of agreement with a float32 reference."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PrecisionTier:
    """The bounds of a precision.

    `divergence` bounds the mean KL divergence from the reference, in nats; `agreement` is the least share of places
    with the reference's most probable token; `delta` bounds the 99th percentile of the difference of a token's log
    probability in decode and in prefill, in nats.
    """

    name: str
    divergence: float
    agreement: float
    delta: float


FLOAT32 = PrecisionTier("float32", 1e-5, 0.995, 1e-3)
FLOAT16 = PrecisionTier("float16", 3e-3, 0.93, 0.05)
BFLOAT16 = PrecisionTier("bfloat16", 3e-3, 0.93, 0.4)
EIGHT_BITS = PrecisionTier("8 bits", 4e-3, 0.92, 0.4)
FIVE_BITS = PrecisionTier("5 bits", 2e-2, 0.91, 0.4)
FOUR_BITS = PrecisionTier("4 bits", 6e-2, 0.90, 0.4)

TIERS = (FLOAT32, FLOAT16, BFLOAT16, EIGHT_BITS, FIVE_BITS, FOUR_BITS)
"""From the strictest to the loosest."""

MARKS = (
    (FOUR_BITS, ("q4", "iq4", "int4", "awq", "gptq", "nf4", "mxfp4", "nvfp4", "fp4")),
    (FIVE_BITS, ("q5", "q6")),
    (EIGHT_BITS, ("q8", "int8", "fp8", "float8", "w8a8")),
    (BFLOAT16, ("bf16", "bfloat16")),
    (FLOAT16, ("fp16", "f16", "float16")),
    (FLOAT32, ("f32", "fp32", "float32", "float64")),
)


def tier_of(precision: str) -> PrecisionTier | None:
    """Return the tier of a precision as `Model.precision` tells it; None for one that says nothing."""
    told = precision.lower()
    return next((tier for tier, marks in MARKS if any(mark in told for mark in marks)), None)


def looser(*tiers: PrecisionTier) -> PrecisionTier:
    """Return the loosest of some tiers: what two models of different precision can be held to."""
    return max(tiers, key=TIERS.index)

"""ST3: what becomes a stop string is never seen, not even for a moment."""

from bellhousing_conformance.check import check
from bellhousing_conformance.known import Known, known_output, piece
from bellhousing_conformance.probe import Probe

SHORTEST, LONGEST = 8, 40
DECOYS = 3
NEVER = "\x01"
"""A character that no output has: a decoy with it never completes."""


@check(
    "ST3",
    title="No message of a stream ever holds the beginning of the stop string that ends it",
    clause="bellhousing.v1.Delta.text",
    profile="stop",
    needs=("stopping.strings", "sampling.max_tokens", "sampling.temperature", "determinism"),
    finds="one character of a stop string of several tokens sent before the string was complete",
    seconds=240,
)
async def no_stop_prefix_leaks(probe: Probe) -> None:
    """Stop at long pieces, among decoys that begin like them, and look at the text after each message."""
    for _ in range(probe.size(smoke=3, standard=12)):
        known = await known_output(probe)
        if known.text:
            await _look(probe, known)


async def _look(probe: Probe, known: Known) -> None:
    stop = piece(probe, known.text, shortest=SHORTEST, longest=LONGEST)
    decoys = [stop[: probe.random.randint(1, len(stop))] + NEVER for _ in range(DECOYS)]
    stops = probe.random.sample([stop, *decoys], 1 + DECOYS)
    run = await known.again(probe, stops)
    expected, seen = known.text[: known.text.index(stop)], ""
    for delta in run.deltas():
        seen += delta.text
        probe.holds(
            expected.startswith(seen),
            f"stop {stop!r}: expected nothing but {expected[-20:]!r} before it, found {seen[-20:]!r}",
        )
    probe.equal(f"whole text before stop {stop!r} among decoys", found=run.text(), expected=expected)
    probe.equal(f"stop reported for {stop!r} among decoys", found=run.end().stop_string, expected=stop)

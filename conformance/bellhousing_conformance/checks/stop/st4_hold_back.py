"""ST4: no more is held back than may become a stop string, and it comes at the end."""

from statistics import median

from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.known import Known, held_back, known_output, piece
from bellhousing_conformance.probe import Probe

NEVER = "\x01"
FOREIGN = NEVER * 64
"""A stop string that no output can begin: nothing may wait for it."""

LENGTH = 48
TRIES = 3
LEAST_SPREAD = 0.6
"""Smallest share of a stream's time over which its text comes, the median of `TRIES`. It was 0.94 and more on two
engines on a busy machine; text that is held back whole comes in a burst, whose reading took a fifth and more there.
Only a stream of `LEAST_SECONDS` is looked at."""

LEAST_SECONDS = 0.05


@check(
    "ST4",
    title="The longest end that may become a stop string is held back, nothing more, and it is delivered at the end",
    clause="bellhousing.v1.Delta.text",
    profile="stop",
    needs=("stopping.strings", "sampling.max_tokens", "sampling.temperature", "determinism"),
    finds="one held character that is lost, a character more held with its token delivered, a stream held back whole",
    seconds=240,
)
async def hold_back_is_minimal(probe: Probe) -> None:
    """Use stop strings that begin like the output's end, like its middle, and like nothing in it."""
    for number in range(probe.size(smoke=2, standard=4)):
        known = await known_output(probe, LENGTH)
        if not known.text:
            continue
        ending = known.text[-probe.random.randint(1, 8) :] + NEVER
        middle = piece(probe, known.text, shortest=2, longest=12) + NEVER
        for decoy in (ending, middle):
            await _unmatched(probe, known, decoy)
        if not number:
            await _in_time(probe, known)


async def _unmatched(probe: Probe, known: Known, stop: str) -> None:
    run = await known.again(probe, [stop])
    probe.equal(f"text with the unmatched stop {stop!r}", found=run.text(), expected=known.text)
    probe.equal(f"finish reason with the unmatched stop {stop!r}", found=run.reason(), expected=known.run.reason())
    tokens = characters = 0
    for delta in run.deltas():
        tokens, characters = tokens + delta.token_count, characters + len(delta.text)
        whole = known.characters_of(tokens)
        most = held_back(known.text[:whole], stop)
        probe.within(f"characters held back after {tokens} tokens", found=whole - characters, high=most)


async def _in_time(probe: Probe, known: Known) -> None:
    spreads = [_spread(await known.again(probe, [FOREIGN])) for _ in range(TRIES)]
    told = [spread for spread in spreads if spread is not None]
    if told:
        what = "share of a stream's time over which its text came, with a stop string that is foreign to it"
        probe.within(what, found=median(told), low=LEAST_SPREAD)


def _spread(run: Run) -> float | None:
    """Return the time from the first to the last text, as a share of all; None for a stream too quick to tell."""
    seconds = (run.stamps_ns[-1] - run.sent_ns) / 1e9
    texts = [ns for ns, message in zip(run.stamps_ns, run.messages, strict=True) if message.delta.text]
    if seconds < LEAST_SECONDS or len(texts) < 2:
        return None
    return (texts[-1] - texts[0]) / 1e9 / seconds

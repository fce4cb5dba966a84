"""ST5: of several stop strings the one that appears first wins, whatever their order in the request."""

from bellhousing_conformance.check import check
from bellhousing_conformance.known import Known, known_output
from bellhousing_conformance.probe import Probe

SHORTEST, LONGEST = 2, 6


@check(
    "ST5",
    title="Of several stop strings the one that appears first ends the text, in any order of the request",
    clause="bellhousing.v1.Stopping.strings",
    profile="stop",
    needs=("stopping.strings", "sampling.max_tokens", "sampling.temperature", "determinism"),
    finds="a later match preferred in one pair of the sample, in either order",
    seconds=240,
)
async def earliest_match_wins(probe: Probe) -> None:
    """Take pieces that do not overlap; and one that is the end of another, where both readings of `first` agree.

    Pieces that overlap otherwise are left out: the contract does not say whether the first to begin or the first to be
    complete is meant.
    """
    for _ in range(probe.size(smoke=2, standard=10)):
        known = await known_output(probe)
        if len(known.text) > 2 * LONGEST:
            await _apart(probe, known)
            await _nested(probe, known)


async def _apart(probe: Probe, known: Known) -> None:
    text, length = known.text, probe.random.randint(SHORTEST, LONGEST)
    first = probe.random.randint(0, len(text) // 2 - length)
    early = text[first : first + length]
    later = text[probe.random.randint(len(text) // 2, len(text) - length) :][:length]
    end = text.index(early) + length
    if text.index(later) < end:  # it appears before its place, too
        return
    for stops in ([early, later], [later, early]):
        await _cut(probe, known, stops, early)


async def _nested(probe: Probe, known: Known) -> None:
    length = probe.random.randint(SHORTEST + 1, LONGEST)
    place = probe.random.randint(0, len(known.text) - length)
    outer = known.text[place : place + length]
    inner = outer[1:]
    if known.text.index(inner) < known.text.index(outer):
        return
    for stops in ([inner, outer], [outer, inner]):
        await _cut(probe, known, stops, outer)


async def _cut(probe: Probe, known: Known, stops: list[str], winner: str) -> None:
    run = await known.again(probe, stops)
    probe.equal(f"text with stops {stops}", found=run.text(), expected=known.text[: known.text.index(winner)])
    probe.equal(f"stop reported of {stops}", found=run.end().stop_string, expected=winner)

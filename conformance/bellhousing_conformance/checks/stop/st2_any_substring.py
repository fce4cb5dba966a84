"""ST2: any piece of an output, across token boundaries, is a stop string that cuts there."""

from bellhousing_conformance.check import check
from bellhousing_conformance.known import Known, known_output, piece
from bellhousing_conformance.probe import Probe

OF_ONE_OUTPUT = 10
SHORTEST, LONGEST = 1, 16


@check(
    "ST2",
    title="Any substring of an output, wherever tokens begin and end, cuts exactly there",
    clause="bellhousing.v1.Stopping.strings",
    profile="stop",
    needs=("stopping.strings", "sampling.max_tokens", "sampling.temperature", "determinism"),
    finds="one of the substrings matched late, early or not at all, or a token after the match delivered",
    seconds=240,
)
async def any_substring_cuts(probe: Probe) -> None:
    """Take random pieces of greedy outputs. The token that completes the stop is the last one delivered."""
    for number in range(probe.size(smoke=10, standard=50)):
        if number % OF_ONE_OUTPUT == 0:
            known = await known_output(probe)
        if known.text:
            await _stop_at(probe, known, piece(probe, known.text, shortest=SHORTEST, longest=LONGEST))


async def _stop_at(probe: Probe, known: Known, stop: str) -> None:
    start = known.text.index(stop)
    run = await known.again(probe, [stop])
    last = known.tokens_to(start + len(stop))
    probe.equal(f"text before stop {stop!r}", found=run.text(), expected=known.text[:start])
    probe.equal(f"finish reason at stop {stop!r}", found=run.reason(), expected="STOP_STRING")
    probe.equal(f"stop reported for {stop!r}", found=run.end().stop_string, expected=stop)
    probe.equal(f"tokens up to stop {stop!r}", found=run.tokens(), expected=last)
    if probe.supports("token_ids"):
        probe.equal(f"ids up to stop {stop!r}", found=run.ids(), expected=known.run.ids()[:last])

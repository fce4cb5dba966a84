"""ST1: a stop string cuts, is left out unless asked for, and is reported."""

from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

SHORTEST, LONGEST = 2, 5


@check(
    "ST1",
    title="A stop string cuts the text exactly, left out or included as asked, and is reported",
    clause="bellhousing.v1.Stopping.strings",
    profile="stop",
    needs=("stopping.strings", "stopping.include_stop", "sampling.max_tokens", "sampling.temperature", "determinism"),
    finds="one character of a stop string delivered or withheld wrongly",
)
async def stop_string_cuts_exactly(probe: Probe) -> None:
    """Take substrings of a known greedy output as stop strings."""
    arguments = {"max_tokens": 48, "temperature": 0.0}
    for _ in range(probe.size(smoke=2, standard=10)):
        prompt = probe.prompt()
        await probe.fill_cache(probe.request(prompt, temperature=0.0))
        whole = (await probe.generate(prompt, **arguments)).text()  # type: ignore[arg-type]
        stop = _substring(probe, whole)
        if not stop:
            continue
        before = whole[: whole.index(stop)]
        for included in (False, True):
            run = await probe.generate(prompt, stop=[stop], include_stop=included, **arguments)  # type: ignore[arg-type]
            what = f"with include_stop={included} and stop {stop!r}"
            probe.equal(f"text {what}", found=run.text(), expected=before + stop * included)
            probe.equal(f"finish reason {what}", found=run.reason(), expected="STOP_STRING")
            probe.equal(f"stop reported {what}", found=run.end().stop_string, expected=stop)


def _substring(probe: Probe, text: str) -> str:
    """Return a piece of the text that is not at its beginning; empty when the text is too short."""
    length = probe.random.randint(SHORTEST, LONGEST)
    if len(text) < length + 2:
        return ""
    place = probe.random.randint(1, len(text) - length)
    return text[place : place + length]

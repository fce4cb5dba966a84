"""U03: a sequence that is cut inside a character says so, and its ids are whole."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.forcing import dictation
from bellhousing_conformance.judges import all_hold
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

REPLACEMENT = "\ufffd"
TEXTS = ("😎😀", "\U00013080\U00013000", "世𠮷界", "éü\U0001f701")
MOST_TOKENS = 12


def judge(rows: Rows, alpha: float) -> Judgement:
    """Judge as all checks do; without a cut inside a character nothing was seen."""
    judgement = all_hold(rows, alpha)
    cuts = sum(row["kind"] == "cut" and row["is_inside"] for row in rows)
    if judgement.status is Status.PASS and not cuts:
        return Judgement(status=Status.INCONCLUSIVE, problems=("no limit fell inside a character",))
    figure = Figure(name="cuts inside a character", value=cuts)
    return judgement.model_copy(update={"figures": (*judgement.figures, figure)})


@check(
    "U03",
    title="A sequence cut inside a character is flagged, its ids are complete, and its text lacks that character alone",
    clause="bellhousing.v1.SequenceEnd.cut_character",
    profile="unicode",
    needs=("sampling.max_tokens", "sampling.temperature", "token_ids", "detokenize", "determinism"),
    judge=judge,
    finds="one cut that is not flagged, one id lost, half a character delivered",
    seconds=240,
)
async def cut_characters_are_flagged(probe: Probe) -> None:
    """Dictate characters of several tokens, and cut after each token.

    Where characters are declared to be told as a whole only, a cut one must be flagged and counted, but has no ids.
    """
    for text in TEXTS[: probe.size(smoke=2, standard=len(TEXTS))]:
        request = dictation(probe, text).request
        await probe.run(request)
        whole = await probe.run(request)
        if len(whole.ids()) < whole.tokens() and not probe.supports("parts_of_characters"):
            continue  # without its ids nothing says where a character is cut
        for tokens in range(1, min(MOST_TOKENS, whole.tokens())):
            await _cut(probe, request, whole, tokens)


async def _cut(probe: Probe, request: pb.GenerateRequest, whole: Run, tokens: int) -> None:
    shorter = pb.GenerateRequest()
    shorter.CopyFrom(request)
    shorter.sampling.max_tokens = tokens
    _note(probe, await probe.run(shorter), whole, tokens, await probe.detokenize(whole.ids()[:tokens]))


def _note(probe: Probe, run: Run, whole: Run, tokens: int, decoded: str) -> None:
    """Note what a cut output should be: `decoded` is the text of the ids that the whole one has so far."""
    ids = whole.ids()[:tokens]
    is_inside = decoded.endswith(REPLACEMENT)
    what = f"{tokens} of the {whole.tokens()} tokens of {whole.text()!r}"
    probe.observe("cut", is_inside=is_inside)
    found = run.ids()
    is_told = not is_inside or probe.supports("parts_of_characters")
    probe.equal(f"ids of {what}", found=found, expected=ids if is_told else ids[: len(found)])
    probe.equal(f"tokens of {what}", found=run.tokens(), expected=tokens)
    probe.equal(f"cut_character of {what}", found=run.end().cut_character, expected=is_inside)
    text = run.text()
    probe.holds(
        REPLACEMENT not in text and text.strip() == decoded.rstrip(REPLACEMENT).strip(),
        f"text of {what}: expected the whole characters of {decoded!r}, found {text!r}",
    )

"""Q01: both targets make the same tokens of texts and chats."""

import hashlib
import random
from functools import partial

from bellhousing.client.arguments import chat_message
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.against import comparing
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.stats import bound_of_no_failures
from bellhousing_conformance.texts import text_of
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

AT_ONCE = 8
TEXTS_PER_CHAT = 10
ROLES = ("system", "user", "assistant")


def compare(target: Rows, other: Rows, _alpha: float) -> Judgement:
    """Compare what both tell of; a text or chat that one side has not is counted and not judged."""
    told, others = ({row["place"]: row for row in side if row["kind"] == "tokens"} for side in (target, other))
    both = sorted(told.keys() & others.keys())
    wrong = [place for place in both if told[place]["digest"] != others[place]["digest"]]
    figures = (
        Figure(name="n", value=len(both)),
        Figure(name="of one side only", value=len(told.keys() ^ others.keys())),
        Figure(name="failures", value=len(wrong), low=0.0, high=bound_of_no_failures(len(both))),
    )
    if not both:
        return Judgement(status=Status.INCONCLUSIVE, problems=("no text was tokenised by both",))
    problems = [
        f"tokens of {told[place]['what']!r}: expected the other target's {others[place]['count']}, "
        f"found {told[place]['count']} with another digest"
        for place in wrong
    ]
    return Judgement(status=Status.FAIL if wrong else Status.PASS, figures=figures, problems=tuple(problems))


@check(
    "Q01",
    title="Both targets make the same tokens of texts and of chats",
    clause="bellhousing.v1.TokenizeResponse.token_ids",
    profile="equivalence",
    tier="standard",
    needs=("tokenize",),
    paired=True,
    judge=comparing(compare),
    statistic="zero differences in n; 95 % bound 3/n",
    finds="a text in 330 that becomes other tokens, at standard size",
    seconds=120,
)
async def tokens_are_equal(probe: Probe) -> None:
    """Tokenise texts of many scripts; and chats, which also shows the template."""
    count = probe.size(smoke=60, standard=1000)
    texts = [text_of(probe.random) for _ in range(count)]
    chats = [_chat(probe.random) for _ in range(count // TEXTS_PER_CHAT)]
    requests = [pb.TokenizeRequest(model=probe.model.name, text=text) for text in texts]
    if probe.supports("chat"):
        requests += [pb.TokenizeRequest(model=probe.model.name, chat=chat) for chat in chats]
    ask = partial(probe.calls.ask, probe.calls.stubs.inference.Tokenize)
    answers = await probe.each([partial(ask, request) for request in requests], at_once=AT_ONCE)
    for place, (request, answer) in enumerate(zip(requests, answers, strict=True)):
        what = request.text or f"a chat of {len(request.chat.messages)} messages"
        digest = hashlib.sha256(",".join(map(str, answer.token_ids)).encode()).hexdigest()
        probe.observe("tokens", place=place, what=what, digest=digest, count=len(answer.token_ids))


def _chat(source: random.Random) -> pb.Chat:
    """Return a chat that every template takes: perhaps a system message, then user and assistant in turn."""
    turns = ROLES[source.randint(0, 1) :]
    roles = [*turns, *(ROLES[1:] * source.randint(0, 2))][: -1 if source.randint(0, 1) else None]
    messages = [{"role": role, "content": text_of(source)} for role in roles]
    if roles[-1] == "system":
        messages.append({"role": "user", "content": text_of(source)})
    return chat_message(messages, {"add_generation_prompt": roles[-1] != "assistant"})

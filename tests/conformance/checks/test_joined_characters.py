"""What U03 and LP1 expect of a model that tells characters as a whole only."""

import random

import pytest

from bellhousing.v1 import discovery_pb2
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Address, Calls, Run
from bellhousing_conformance.checks.logprobs import lp1_sound as lp1
from bellhousing_conformance.checks.unicode import u03_cut_character as u03
from bellhousing_conformance.judges import all_hold
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.targets.hooks import Hooks
from bellhousing_conformance.verdict import Status


def probe(*, joined: bool) -> Probe:
    told = discovery_pb2.Capabilities(joined_characters=joined, token_ids=True)
    return Probe(
        calls=Calls(Address("127.0.0.1:1"), 1.0),
        model=discovery_pb2.Model(name="m", capabilities=told),
        hooks=Hooks(),
        tier="smoke",
        random=random.Random(1),
    )


def output(*deltas: pb.Delta, cut: bool = False) -> Run:
    end = pb.SequenceEnd(cut_character=cut)
    messages = [pb.GenerateResponse(delta=delta) for delta in deltas]
    messages.append(pb.GenerateResponse(finished=pb.Finished(sequences=[end])))
    return Run(pb.GenerateRequest(), 0, messages)


WHOLE = output(pb.Delta(text="a😎", token_ids=[1, 2, 3], token_count=3))


@pytest.mark.parametrize(
    ("joined", "entries", "status"),
    [(True, 1, Status.PASS), (True, 4, Status.FAIL), (False, 1, Status.FAIL), (False, 3, Status.PASS)],
)
async def test_lp1_a_joined_character_may_lack_entries_and_never_has_more(
    joined: bool, entries: int, status: Status
) -> None:
    seen = probe(joined=joined)
    told = [pb.TokenLogprob(id=number) for number in range(entries)]
    lp1._match(seen, pb.Delta(token_ids=range(3), token_count=3, logprobs=told))
    assert all_hold(seen.rows).status is status


@pytest.mark.parametrize(
    ("joined", "ids", "flagged", "status"),
    [
        (True, [1], True, Status.PASS),
        (True, [1], False, Status.FAIL),
        (True, [9], True, Status.FAIL),
        (False, [1], True, Status.FAIL),
        (False, [1, 2], True, Status.PASS),
    ],
)
async def test_u03_a_cut_joined_character_may_lack_its_ids_and_not_its_flag(
    joined: bool, ids: list[int], flagged: bool, status: Status
) -> None:
    seen = probe(joined=joined)
    cut = output(pb.Delta(text="a", token_ids=ids, token_count=2), cut=flagged)
    u03._note(seen, cut, WHOLE, 2, "a\ufffd")
    assert u03.judge(seen.rows, 0.0).status is status

"""E05: no request makes the server fail."""

from functools import partial

from bellhousing.capabilities import FIELDS
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.support import with_field

AT_ONCE = 4
NEVER = ("INTERNAL", "UNKNOWN", "DATA_LOSS")
NUMBERS = (-1e300, -1.0, -0.0, 0.0, 1e-300, 0.5, 1.0, 2.0, 1e300, float("inf"), float("-inf"), float("nan"))
WHOLES = (0, 1, 2, 3, 7, 2**31, 2**32 - 1)
TEXTS = ("", " ", "a", "\x00", "\n" * 50, "é" * 20, "\U0001f642", "{}", "<|endoftext|>", "' OR 1=1 --", "%s%n" * 20)
COSTLY = ("max_tokens", "min_tokens", "n")
"""Whole numbers that make a request long or wide: they stay small."""


@check(
    "E05",
    title="No generated request is INTERNAL, UNKNOWN or DATA_LOSS, or ends the server",
    clause="bellhousing.v1.Inference",
    profile="errors",
    needs=("sampling.max_tokens",),
    finds="a combination of extreme values that one request in 170 (of 500) has",
    tier="standard",
    seconds=240,
)
async def no_request_makes_the_server_fail(probe: Probe) -> None:
    """Draw requests from extreme values of every field, and generate well at the end."""
    requests = [_request(probe) for _ in range(probe.size(smoke=40, standard=200, full=500))]
    await probe.each([partial(_one, probe, request) for request in requests], at_once=AT_ONCE)
    run = await probe.attempt(probe.request(max_tokens=2))
    probe.holds(run.failed is None, f"after all requests: expected a generation to end well, found {run.failed}")


async def _one(probe: Probe, request: pb.GenerateRequest) -> None:
    run = await probe.calls.stream(request)
    found = run.status
    told = f"{found}: {run.failed.error.message}" if run.failed else found
    probe.holds(
        found not in NEVER,
        f"a generated request: expected none of {', '.join(NEVER)}, found {told}",
        request=run.failed.request if run.failed else {},
    )


def _request(probe: Probe) -> pb.GenerateRequest:
    """Return a request with up to five fields, each with a plausible or an extreme value."""
    request = pb.GenerateRequest(model=probe.model.name, text=probe.random.choice(TEXTS) or "Hello")
    request.sampling.max_tokens = probe.random.randint(1, 4)
    for path in probe.random.sample(sorted(FIELDS), k=probe.random.randint(0, 5)):
        request = with_field(request, path)
        name = path.partition(".")[2]
        if path.startswith("sampling.") and name not in (*COSTLY, "logit_bias", "ignore_eos"):
            _set_extreme(probe, request, name)
    if probe.random.random() < 0.2:
        request.stopping.strings.extend(probe.random.choices(TEXTS, k=probe.random.randint(1, 18)))
    if probe.random.random() < 0.1:
        request.sampling.logit_bias[probe.random.choice(WHOLES)] = probe.random.choice(NUMBERS)
    request.sampling.max_tokens = min(request.sampling.max_tokens, 4)
    return request


def _set_extreme(probe: Probe, request: pb.GenerateRequest, name: str) -> None:
    is_whole = name in ("top_k", "seed")
    setattr(request.sampling, name, probe.random.choice(WHOLES if is_whole else NUMBERS))

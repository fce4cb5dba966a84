"""C01: the target describes itself, and always in the same words."""

from google.protobuf.json_format import MessageToDict

from bellhousing.capabilities import FIELDS
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

TIMES = 3
REQUIRED = ("name", "backend", "backend_version", "engine", "engine_version", "instance_id", "precision")


@check(
    "C01",
    title="GetModel tells versions, identity and capabilities, the same each time",
    clause="bellhousing.v1.Discovery.GetModel",
    profile="core",
    finds="a field that is missing, unknown to the contract, or changes between two of three answers",
)
async def description_is_whole_and_stable(probe: Probe) -> None:
    """Ask three times; `state` alone may change."""
    told = [MessageToDict(await probe.describe(), preserving_proto_field_name=True) for _ in range(TIMES)]
    for each in told:
        each.pop("state", None)
        each.pop("state_detail", None)
    for place, other in enumerate(told[1:], 2):
        probe.equal(f"answer {place} of GetModel", found=other, expected=told[0])
    for field in REQUIRED:
        probe.holds(bool(told[0].get(field)), f"Model.{field}: expected a value, found none")
    probe.within("Model.context_length", found=probe.model.context_length, low=2)
    fields = [parameter.field for parameter in probe.model.capabilities.parameters]
    probe.equal("declared fields that the contract has not", found=sorted(set(fields) - FIELDS.keys()), expected=[])
    probe.equal("fields declared twice", found=sorted({f for f in fields if fields.count(f) > 1}), expected=[])
    probe.holds(probe.supports("text") or probe.supports("token_ids"), "no prompt is declared: text or token_ids")

"""T04: the parallelism that is told is the one in force."""

from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

SETTING = "parallelism.tensor"


@check(
    "T04",
    title="The reported topology is true: sizes, devices and settings agree",
    clause="bellhousing.v1.Parallelism",
    profile="tensor-parallel",
    needs=("tensor_parallel",),
    finds="a size in force that the devices or the settings do not bear out",
    tier="standard",
)
async def the_topology_is_true(probe: Probe) -> None:
    """Compare the sizes with the devices, which ranks may share, and with the settings, each where it is told."""
    model = await probe.describe()
    told = model.parallelism
    ranks = told.tensor_effective * max(1, told.pipeline_effective) * max(1, told.data_effective)
    probe.holds(told.tensor_requested >= 1, "tensor_requested: expected at least 1, found 0")
    if told.devices:
        probe.equal("devices told, one for each rank", found=len(told.devices), expected=ranks)
    for setting in model.settings:
        if setting.name == SETTING:
            probe.equal("setting in force", found=setting.effective, expected=str(told.tensor_effective))
            if told.tensor_requested != told.tensor_effective:
                probe.holds(bool(setting.reason), f"{SETTING}: expected a reason for another size, found none")

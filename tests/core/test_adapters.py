"""Adapters that an engine was started with: nobody registers, loads or unloads them."""

import pytest

from bellhousing.adapters import AdapterEntry, Adapters
from bellhousing.errors import NotFound, PreconditionFailed
from bellhousing.testing.probe import build
from bellhousing_simulator import SimulatorBackend


def started(static: dict[str, str]) -> Adapters:
    adapters = Adapters((), slots=1)
    adapters.engine_started(static)
    return adapters


async def test_a_static_adapter_is_leased_with_its_digest_though_the_engine_never_loads_it() -> None:
    adapters = started({"poet": "sha256:1", "judge": ""})
    engine = build(SimulatorBackend, {}, None)  # not started: asking it to load would fail
    async with adapters.lease("poet", "anyone", engine) as digest:
        assert digest == "sha256:1"
        assert adapters.find("poet").leases == 1
    assert adapters.resident() == ["judge", "poet"]


async def test_a_static_adapter_stays_as_long_as_the_engine_runs() -> None:
    adapters = started({"poet": ""})
    with pytest.raises(PreconditionFailed, match="'poet' came with the engine"):
        await adapters.unload("poet", build(SimulatorBackend, {}, None), forget=True)
    assert adapters.find("poet").pinned


def test_an_engine_that_starts_anew_brings_only_its_own_adapters() -> None:
    adapters = started({"poet": "sha256:1", "judge": ""})
    adapters._entries["mine"] = AdapterEntry("mine", "file:///mine", state="device")
    adapters.engine_started({"poet": "sha256:2"})
    assert adapters.resident() == ["poet"]
    assert adapters.find("poet").digest == "sha256:2"
    assert adapters.find("mine").state == "host"
    with pytest.raises(NotFound):
        adapters.find("judge")

"""Settings that stop the start."""

from pathlib import Path

import pytest

from bellhousing.errors import ConfigurationError
from bellhousing.settings import Batching, EngineSettings, ModelSpec, Parallelism
from bellhousing_simulator import Fault, IsolatedSimulatorBackend, SimulatorBackend, SimulatorOptions


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ModelSpec(name="m", path=Path("x.gguf")), "model: expected none, found x.gguf"),
        (
            ModelSpec(name="m", settings=EngineSettings(parallelism=Parallelism(pipeline=2, data=3))),
            "parallelism.pipeline: expected 1, found 2; parallelism.data: expected 1, found 3",
        ),
        (
            ModelSpec(name="m", settings=EngineSettings(batching=Batching(max_total_tokens=9))),
            "batching.max_total_tokens: expected none, found 9",
        ),
    ],
)
async def test_a_setting_that_cannot_be_honoured_is_named(spec: ModelSpec, expected: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await SimulatorBackend(spec, SimulatorOptions()).start(lambda _: None)
    assert expected in refused.value.message


async def test_a_crash_is_allowed_only_in_a_process_of_its_own() -> None:
    options = SimulatorOptions(faults=(Fault(kind="crash", match="never"),))
    with pytest.raises(ConfigurationError, match="simulator-process"):
        await SimulatorBackend(ModelSpec(name="m"), options).start(lambda _: None)
    await IsolatedSimulatorBackend(ModelSpec(name="m"), options).start(lambda _: None)

"""The vLLM backend with defects."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from bellhousing.backend import ModelInfo
from bellhousing.events import Progress
from bellhousing_vllm import VllmBackend, engine
from bellhousing_vllm.options import VllmOptions
from tests.conformance.defective.switch import Spoil, defect_of, spoiling

DEFECTS: Mapping[str, Spoil] = {
    "takes temperature 1": lambda fields: fields.update(temperature=1.0),
}


class DefectiveOptions(VllmOptions):
    """Where the switch lies."""

    switch: Path


class DefectiveVllm(VllmBackend):
    """The backend, but for the defect in force."""

    name: ClassVar[str] = "defective-vllm"
    Options = DefectiveOptions  # type: ignore[assignment] # mypy takes it for an alias

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """See `Backend.start`."""
        spoiling(engine, "sampling_fields", DEFECTS, self.options.switch)
        return await super().start(progress)

    def _adapter(self, name: str) -> Any:
        return super()._adapter("" if defect_of(self.options.switch) == "drops the adapter" else name)

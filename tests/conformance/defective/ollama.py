"""The Ollama backend with defects."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from bellhousing.backend import ModelInfo
from bellhousing.events import Progress
from bellhousing_ollama import OllamaBackend, serving
from bellhousing_ollama.options import OllamaOptions
from tests.conformance.defective.switch import Spoil, spoiling

DEFECTS: Mapping[str, Spoil] = {
    "takes temperature 1": lambda body: body["options"].update(temperature=1.0),
    "ignores the seed": lambda body: body["options"].pop("seed"),
    "cuts long prompts": lambda body: body.update(truncate=True),
}


class DefectiveOptions(OllamaOptions):
    """Where the switch lies."""

    switch: Path


class DefectiveOllama(OllamaBackend):
    """The backend, but for the defect in force."""

    name: ClassVar[str] = "defective-ollama"
    Options = DefectiveOptions  # type: ignore[assignment] # mypy takes it for an alias
    isolation: ClassVar[Literal["inline", "process"]] = "process"

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """See `Backend.start`."""
        spoiling(serving, "request_body", DEFECTS, self.options.switch)
        return await super().start(progress)

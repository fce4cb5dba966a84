"""The metrics count tokens twice."""

from bellhousing_conformance.saboteurs.metrics import changed
from bellhousing_conformance.saboteurs.saboteur import Saboteur
from bellhousing_conformance.targets.hooks import HookName


class CountsTokensTwice(Saboteur):
    """Doubles a counter."""

    defect = "the metrics count each completion token twice"
    seen_by = ("M01",)

    @classmethod
    def hooked(cls, name: HookName, answer: str) -> str:
        """See `Saboteur`."""
        return changed(name, answer, "bellhousing_completion_tokens_total", lambda value: 2 * value)

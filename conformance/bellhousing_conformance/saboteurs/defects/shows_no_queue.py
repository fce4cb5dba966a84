"""A gauge is always zero."""

from bellhousing_conformance.saboteurs.metrics import changed
from bellhousing_conformance.saboteurs.saboteur import Saboteur
from bellhousing_conformance.targets.hooks import HookName


class ShowsNoQueue(Saboteur):
    """Says that nothing waits, whatever does."""

    defect = "the gauge of the queue is zero while requests wait"
    seen_by = ("M03",)

    @classmethod
    def hooked(cls, name: HookName, answer: str) -> str:
        """See `Saboteur`."""
        return changed(name, answer, "bellhousing_model_requests_waiting", lambda _: 0.0)

"""The metrics leave out what was refused."""

from bellhousing_conformance.saboteurs.metrics import changed
from bellhousing_conformance.saboteurs.saboteur import Saboteur
from bellhousing_conformance.targets.hooks import HookName


class CountsNoRefusals(Saboteur):
    """Takes the requests of one status out of the counter."""

    defect = "requests that were refused as invalid are not in the metrics"
    seen_by = ("M01",)

    @classmethod
    def hooked(cls, name: HookName, answer: str) -> str:
        """See `Saboteur`."""
        return changed(name, answer, "bellhousing_requests_total", lambda _: 0.0, having='code="INVALID_ARGUMENT"')

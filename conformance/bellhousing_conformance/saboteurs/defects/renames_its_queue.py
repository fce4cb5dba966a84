"""A gauge has another name."""

from bellhousing_conformance.saboteurs.saboteur import Saboteur
from bellhousing_conformance.targets.hooks import HookName


class RenamesItsQueue(Saboteur):
    """Calls the queue what no gateway looks for."""

    defect = "the gauge of the queue has a name that nobody reads"
    seen_by = ("M03",)

    @classmethod
    def hooked(cls, name: HookName, answer: str) -> str:  # noqa: ARG003 - see `Saboteur`
        """See `Saboteur`."""
        return answer.replace("bellhousing_model_requests_waiting", "bellhousing_backlog")

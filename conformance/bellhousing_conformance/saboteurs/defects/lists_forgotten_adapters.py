"""An adapter that was forgotten is listed."""

from typing import Any, ClassVar

from bellhousing.v1.admin_pb2 import Adapter
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class ListsForgottenAdapters(Saboteur):
    """Lists an adapter again that it has once listed."""

    defect = "an adapter that was forgotten stays in the list"
    seen_by = ("A01", "A07")
    seen: ClassVar[dict[str, Adapter]] = {}

    def answered(self, method: str, answer: Any) -> None:
        """See `Saboteur`."""
        if method in ("RegisterAdapter", "LoadAdapter"):
            self.seen[answer.adapter.name] = answer.adapter
        elif method == "ListAdapters":
            names = [adapter.name for adapter in answer.adapters]
            answer.adapters.extend([adapter for name, adapter in self.seen.items() if name not in names])

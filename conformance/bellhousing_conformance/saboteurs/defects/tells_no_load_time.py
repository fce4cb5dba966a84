"""How long a load took is not told."""

from typing import Any

from bellhousing_conformance.saboteurs.saboteur import Saboteur


class TellsNoLoadTime(Saboteur):
    """Leaves the time out."""

    defect = "LoadModel tells no time"
    seen_by = ("L04",)

    def answered(self, method: str, answer: Any) -> None:
        """See `Saboteur`."""
        if method == "LoadModel" and answer.HasField("loaded"):
            answer.loaded.ClearField("elapsed")

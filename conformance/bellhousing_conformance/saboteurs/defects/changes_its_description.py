"""GetModel says something else each time."""

import itertools
from typing import Any, ClassVar

from bellhousing_conformance.saboteurs.saboteur import Saboteur


class ChangesItsDescription(Saboteur):
    """Tells another instance each time."""

    defect = "GetModel tells another instance_id each time"
    seen_by = ("C01",)
    numbers: ClassVar["itertools.count[int]"] = itertools.count()

    def answered(self, method: str, answer: Any) -> None:
        """See `Saboteur`."""
        if method == "GetModel":
            answer.model.instance_id = f"instance-{next(self.numbers)}"

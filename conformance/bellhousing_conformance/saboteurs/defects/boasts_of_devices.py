"""More devices are told than there are."""

from typing import Any

from bellhousing_conformance.saboteurs.saboteur import Saboteur


class BoastsOfDevices(Saboteur):
    """Tells one tensor-parallel rank more than was told of devices."""

    defect = "the tensor-parallel size that is told is not the one in force"
    seen_by = ("T04",)

    def answered(self, method: str, answer: Any) -> None:
        """See `Saboteur`."""
        models = [answer.model] if method == "GetModel" else getattr(answer, "models", ())
        for model in models:
            model.parallelism.tensor_effective += 1

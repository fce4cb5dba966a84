"""Tokenize forgets the first token."""

from typing import Any

from bellhousing_conformance.saboteurs.saboteur import Saboteur


class DropsTheBos(Saboteur):
    """Leaves out the first id, as one that tokenises without the special tokens which Generate adds."""

    defect = "Tokenize leaves out the first token of what Generate uses"
    seen_by = ("Q01", "C04", "C05")

    def answered(self, method: str, answer: Any) -> None:
        """See `Saboteur`."""
        if method == "Tokenize":
            del answer.token_ids[:1]

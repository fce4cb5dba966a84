"""A prompt found in the cache is not the prompt that was asked for."""

from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class SpoilsItsCache(Saboteur):
    """Loses the last characters of a text prompt that it has seen before."""

    defect = "a prompt found in the prefix cache lacks its end"
    seen_by = ("D03",)
    seen: ClassVar[set[str]] = set()

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        text = request.text
        if text in self.seen:
            request.text = text[:-3] or text
        self.seen.add(text)

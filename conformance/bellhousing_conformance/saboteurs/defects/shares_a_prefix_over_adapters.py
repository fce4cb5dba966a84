"""The prefix cache forgets the adapter."""

from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class SharesAPrefixOverAdapters(Saboteur):
    """Serves a known prompt with the adapter that it was first seen with."""

    defect = "a prompt that is in the prefix cache is served with the adapter that computed it"
    seen_by = ("A04",)
    first: ClassVar[dict[str, str]] = {}

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        request.adapter = self.first.setdefault(request.text, request.adapter)

"""Seeds mean something else in each instance."""

from typing import Any, ClassVar
from zlib import crc32

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class SaltsTheSeed(Saboteur):
    """Mixes the instance into each seed, as hashing that is salted at the start of a process does."""

    defect = "a seed gives other outputs after a restart"
    seen_by = ("D04",)
    instance: ClassVar[list[str]] = [""]

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.sampling.HasField("seed"):
            request.sampling.seed ^= crc32(self.instance[0].encode())

    def answered(self, method: str, answer: Any) -> None:
        """See `Saboteur`."""
        if method == "GetModel":
            self.instance[0] = answer.model.instance_id

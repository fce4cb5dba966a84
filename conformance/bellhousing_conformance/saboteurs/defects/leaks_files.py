"""A file stays open of every request."""

import json
from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur
from bellhousing_conformance.targets.hooks import HookName


class LeaksFiles(Saboteur):
    """Tells of one more open file after each request."""

    defect = "each request leaves a file open"
    seen_by = ("K03",)
    leaked: ClassVar[int] = 0

    def asked(self, request: pb.GenerateRequest) -> None:  # noqa: ARG002 - see `Saboteur`
        """See `Saboteur`."""
        LeaksFiles.leaked += 1

    @classmethod
    def hooked(cls, name: HookName, answer: str) -> str:
        """See `Saboteur`."""
        if name != "stats":
            return answer
        told = json.loads(answer)
        return json.dumps({**told, "files": told.get("files", 0) + cls.leaked})

"""A file stays open of every request."""

import json
import os
from pathlib import Path
from typing import IO, ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur
from bellhousing_conformance.targets.hooks import HookName

MOST = 200


class LeaksFiles(Saboteur):
    """Opens a file for each request and never closes it."""

    defect = "each request leaves a file open"
    seen_by = ("K03",)
    opened: ClassVar[list[IO[bytes]]] = []

    def asked(self, request: pb.GenerateRequest) -> None:  # noqa: ARG002 - see `Saboteur`
        """See `Saboteur`."""
        if len(self.opened) < MOST:  # enough to be seen, and too few to end this process
            self.opened.append(Path(os.devnull).open("rb"))  # noqa: SIM115 - the defect

    @classmethod
    def hooked(cls, name: HookName, answer: str) -> str:
        """See `Saboteur`."""
        if name != "stats":
            return answer
        told = json.loads(answer)
        return json.dumps({**told, "files": told.get("files", 0) + len(cls.opened)})

"""Memory stays of every request."""

from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur
from bellhousing_conformance.targets.hooks import HookName

KEPT_BYTES = 2**20


class LeaksMemory(Saboteur):
    """Keeps a piece of memory for each request; it belongs to the target, of which the proxy is a part."""

    defect = "each request leaves 1 MiB in memory"
    seen_by = ("K01",)
    kept: ClassVar[list[bytearray]] = []

    def asked(self, request: pb.GenerateRequest) -> None:  # noqa: ARG002 - see `Saboteur`
        """See `Saboteur`."""
        self.kept.append(bytearray(KEPT_BYTES))

    @classmethod
    def hooked(cls, name: HookName, answer: str) -> str:
        """See `Saboteur`."""
        return str(int(answer) + sum(map(len, cls.kept))) if name == "rss" else answer

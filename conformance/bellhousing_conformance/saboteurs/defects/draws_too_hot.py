"""The temperature is a quarter too high."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class DrawsTooHot(Saboteur):
    """Draws at 1.25 times the temperature: what smoke-sized samples can find."""

    defect = "the temperature in force is 1.25 times the one asked for"
    seen_by = ("P02",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.sampling.HasField("temperature"):
            request.sampling.temperature *= 1.25

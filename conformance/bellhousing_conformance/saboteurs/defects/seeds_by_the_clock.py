"""The seed of a request without one is the time."""

import time

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class SeedsByTheClock(Saboteur):
    """Seeds what has no seed with the second in which it arrived."""

    defect = "a request without a seed is seeded with the seconds of the clock"
    seen_by = ("P08", "D06")

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if not request.sampling.HasField("seed"):
            request.sampling.seed = int(time.time())

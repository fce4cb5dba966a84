"""One rank computes something else."""

from collections.abc import Iterable

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

SHIFT = 0.5
CHANGED = 3
LETTERS = 26


class LosesARank(Saboteur):
    """Moves log probabilities and changes a token, as a wrong sum over ranks does."""

    defect = "a rank's share is wrong: log probabilities are up to 0.5 nat off, and a greedy token is another"
    seen_by = ("T01", "T02")
    deltas = 0

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        self.deltas += message.HasField("delta")
        for entry in message.delta.logprobs:
            for place, top in enumerate(entry.top):
                top.logprob -= SHIFT * (place % 2)
        if self.deltas == CHANGED and message.delta.token_ids:
            message.delta.token_ids[0] = (message.delta.token_ids[0] + 1) % LETTERS
        return (message,)

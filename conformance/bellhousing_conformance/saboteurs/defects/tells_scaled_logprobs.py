"""Log probabilities after temperature, though declared as before it."""

from collections.abc import Iterable

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class TellsScaledLogprobs(Saboteur):
    """Divides log probabilities by the temperature."""

    defect = "log probabilities are those after temperature, while the model declares those before it"
    seen_by = ("LP2",)
    temperature = 1.0

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        self.temperature = request.sampling.temperature or 1.0

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        for entry in message.delta.logprobs:
            spoken: list[pb.TokenLogprob | pb.TopLogprob] = [entry, *entry.top]
            for each in spoken:
                each.logprob /= self.temperature
        return (message,)

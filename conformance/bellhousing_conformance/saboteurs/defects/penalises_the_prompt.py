"""Penalties of what was generated count the prompt as well."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class PenalisesThePrompt(Saboteur):
    """Takes the presence penalty from the logits of the prompt's tokens, which are the simulator's."""

    defect = "presence_penalty counts the tokens of the prompt"
    seen_by = ("P06",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        from bellhousing_simulator.vocabulary import tokenise

        for token in set(tokenise(request.text)) if request.sampling.presence_penalty else ():
            request.sampling.logit_bias[token] -= request.sampling.presence_penalty

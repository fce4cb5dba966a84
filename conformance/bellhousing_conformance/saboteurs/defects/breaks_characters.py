"""Each token is decoded by itself."""

from collections.abc import Iterable

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class BreaksCharacters(Saboteur):
    """Makes a U+FFFD of each token of a character that several tokens share."""

    defect = "tokens are decoded one by one: a character of several tokens becomes U+FFFD"
    seen_by = ("U01", "U02")

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        delta = message.delta
        if delta.token_count > 1 and any(character > "\x7f" for character in delta.text):
            delta.text = "\ufffd" * delta.token_count
        return (message,)

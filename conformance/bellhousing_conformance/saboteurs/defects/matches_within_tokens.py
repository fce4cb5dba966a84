"""Stop strings are found only where one token holds them whole."""

from collections.abc import AsyncIterator

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class MatchesWithinTokens(Saboteur):
    """Compares each token's text with the stop strings, and nothing across two of them."""

    defect = "a stop string that crosses a token boundary is not found"
    seen_by = ("ST1", "ST2", "ST3")
    stops: tuple[str, ...] = ()
    includes = False

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        self.stops, self.includes = tuple(request.stopping.strings), request.stopping.include_stop
        del request.stopping.strings[:]

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        tokens, found = 0, ""
        async for message in messages:
            delta = message.delta
            if message.HasField("delta") and not found:
                tokens += delta.token_count
                found = next((stop for stop in self.stops if stop in delta.text), "")
                if found:
                    delta.text = delta.text[: delta.text.index(found)] + found * self.includes
                yield message
            elif not message.HasField("delta"):
                for end in message.finished.sequences if found else ():
                    end.finish_reason, end.stop_string = pb.FINISH_REASON_STOP_STRING, found
                    end.completion_tokens = message.finished.usage.completion_tokens = tokens
                yield message

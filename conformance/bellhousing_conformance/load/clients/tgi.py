"""`/generate_stream` of a TGI router. Each event is a token, the end token among them."""

import json
from typing import Any, ClassVar

from bellhousing_conformance.load.clients.client import Reading
from bellhousing_conformance.load.clients.streaming import StreamingClient, sse_payload
from bellhousing_conformance.load.workload import Planned


class TgiClient(StreamingClient):
    """Server-sent events of tokens."""

    path: ClassVar[str] = "/generate_stream"
    lacking: ClassVar[str] = "expected an event with details, found none"

    def prepared(self, request: Planned, prompt: str) -> bytes:
        """See `Client`."""
        parameters: dict[str, Any] = {"max_new_tokens": request.max_tokens, "seed": request.seed, "details": True}
        if request.adapter:
            parameters["adapter_id"] = request.adapter
        return json.dumps({"inputs": prompt, "parameters": parameters}).encode()

    def payload(self, frame: bytes) -> bytes | None:
        """See `StreamingClient`."""
        return sse_payload(frame)

    def take(self, event: dict[str, Any], stamp: int, reading: Reading) -> None:
        """See `StreamingClient`."""
        if token := event.get("token"):
            reading.arrivals.append((stamp, 1))
            reading.text += "" if token.get("special") else token.get("text") or ""
        if details := event.get("details"):
            reading.fault = ""
            reading.usage_tokens = details.get("generated_tokens")
            reading.prompt_tokens = details.get("input_length")

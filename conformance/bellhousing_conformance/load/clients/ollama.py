"""`/api/generate` of Ollama. A line with text is a token; the end token is counted by the server alone.

Ollama holds text back that may still become a character, so that a line may be of several tokens and tells no number.
As in the `ollama` backend those tokens count with the last line. The token ledger therefore sees lines too many, and
none too few.
"""

import json
from typing import Any, ClassVar

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.clients.client import Reading
from bellhousing_conformance.load.clients.streaming import StreamingClient
from bellhousing_conformance.load.workload import Planned


class OllamaClient(StreamingClient):
    """Lines of JSON."""

    path: ClassVar[str] = "/api/generate"
    lacking: ClassVar[str] = "expected a line with done, found none"

    def prepared(self, request: Planned, prompt: str) -> bytes:
        """See `Client`. Raises `ConfigurationError` for an adapter, which this API has no field for."""
        if request.adapter:
            raise ConfigurationError(f"client 'ollama': expected no adapter, found {request.adapter!r}")
        body = {
            "model": self._endpoint.model,
            "prompt": prompt,
            "raw": True,
            "stream": True,
            "options": {"num_predict": request.max_tokens, "seed": request.seed},
        }
        return json.dumps(body).encode()

    def take(self, event: dict[str, Any], stamp: int, reading: Reading) -> None:
        """See `StreamingClient`."""
        if text := event.get("response") or "":
            reading.arrivals.append((stamp, 1))
            reading.text += text
        if event.get("done"):
            reading.fault = ""
            reading.prompt_tokens = event.get("prompt_eval_count")
            counted = event.get("eval_count")
            if counted is not None:
                reading.usage_tokens = counted - (event.get("done_reason") == "stop")
                held_back = reading.usage_tokens - sum(tokens for _, tokens in reading.arrivals)
                if held_back > 0:
                    reading.arrivals.append((stamp, held_back))

"""`/v1/completions` of an OpenAI-compatible server.

The API tells no number of tokens for each chunk. vLLM does when asked (`return_token_ids`); elsewhere a chunk with text
counts as one token, and the token ledger makes a run INVALID where that is wrong.
"""

import json
from typing import Any, ClassVar

from bellhousing_conformance.load.clients.client import Reading
from bellhousing_conformance.load.clients.streaming import StreamingClient, sse_payload
from bellhousing_conformance.load.workload import Planned


class OpenAiClient(StreamingClient):
    """Server-sent events of completions."""

    path: ClassVar[str] = "/v1/completions"
    can_ignore_eos: ClassVar[bool] = True
    lacking: ClassVar[str] = "expected a finish_reason, found none"

    def prepared(self, request: Planned, prompt: str) -> bytes:
        """See `Client`. An adapter is a model of its own in this API."""
        body: dict[str, Any] = {
            "model": request.adapter or self._endpoint.model,
            "prompt": prompt,
            "max_tokens": request.max_tokens,
            "seed": request.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
        }
        if not self._endpoint.natural:
            body["ignore_eos"] = True
        return json.dumps(body).encode()

    def payload(self, frame: bytes) -> bytes | None:
        """See `StreamingClient`."""
        return sse_payload(frame)

    def take(self, event: dict[str, Any], stamp: int, reading: Reading) -> None:
        """See `StreamingClient`."""
        for choice in event.get("choices") or ():
            text, ids = choice.get("text") or "", choice.get("token_ids")
            tokens = len(ids) if ids is not None else int(bool(text))
            if tokens:
                reading.arrivals.append((stamp, tokens))
            reading.text += text
            if choice.get("finish_reason"):
                reading.fault = ""
        if usage := event.get("usage"):
            reading.prompt_tokens = usage.get("prompt_tokens")
            reading.usage_tokens = usage.get("completion_tokens")

"""What a client knows of its own requests, kept beside them, to hold the server's metrics against."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bellhousing import AsyncClient, RetryPolicy
from bellhousing.errors import BellhousingError
from bellhousing.v1 import inference_pb2 as pb

Counts = Mapping[tuple[str, ...], float]
TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens")


@dataclass
class Ledger:
    """Requests by tenant, adapter, code and reason; the tokens of those that ended well by tenant and adapter.

    `answered` counts those that ended well and had a token: a model may end an output at once.
    """

    address: str
    requests: Counter[tuple[str, ...]] = field(default_factory=Counter)
    prompt_tokens: Counter[tuple[str, ...]] = field(default_factory=Counter)
    cached_tokens: Counter[tuple[str, ...]] = field(default_factory=Counter)
    completion_tokens: Counter[tuple[str, ...]] = field(default_factory=Counter)
    answered: int = 0

    def client(self, tenant: str) -> AsyncClient:
        """Return a client that tries nothing twice."""
        return AsyncClient(self.address, tenant=tenant, retry=RetryPolicy(attempts=1))

    async def complete(self, tenant: str, prompt: str, **fields: Any) -> None:
        """Send a request and enter how it ended."""
        adapter = str(fields.get("adapter", ""))
        async with self.client(tenant) as client:
            try:
                answer = await client.complete(prompt, **fields)
            except BellhousingError as error:
                # A refusal names no adapter: whoever makes names up must not fill the labels.
                self.requests[tenant, "", error.code.name, error.reason] += 1
                return
        self.answered += any(output.token_count for output in answer.outputs)
        self._enter(tenant, adapter, answer.finished)

    async def leave(self, tenant: str, prompt: str, **fields: Any) -> int:
        """Send a request and leave at its first output; return the tokens that came."""
        came = 0
        async with self.client(tenant) as client, client.generate(prompt, **fields) as stream:
            async for delta in stream:
                came += delta.token_count
                break
        self.requests[tenant, "", "CANCELLED", "CLIENT_LEFT"] += 1
        return came

    async def abort(self, tenant: str, prompt: str, **fields: Any) -> int:
        """Send a request and have an operator end it at its first output; return the tokens that came."""
        came, is_asked = 0, False
        async with self.client(tenant) as client, client.generate(prompt, request_id="to-abort", **fields) as stream:
            try:
                async for delta in stream:
                    came += delta.token_count
                    if not is_asked:
                        is_asked = True
                        await client.abort("to-abort")
            except BellhousingError as error:
                self.requests[tenant, "", error.code.name, error.reason] += 1
        return came

    def _enter(self, tenant: str, adapter: str, finished: pb.Finished) -> None:
        name = pb.FinishReason.Name(finished.sequences[0].finish_reason)
        self.requests[tenant, adapter, "OK", name.removeprefix("FINISH_REASON_").lower()] += 1
        for figure in TOKENS:
            tokens = getattr(finished.usage, figure)
            if tokens:
                getattr(self, figure)[tenant, adapter] += tokens

"""The load: closed-loop streams, each sending its next request when the last one has ended."""

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from string import ascii_lowercase

from bellhousing.client import AsyncClient
from bellhousing.errors import BellhousingError
from bellhousing.v1 import discovery_pb2

SAMPLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Workload:
    """Each stream sends `requests` requests with outputs of `output_tokens`.

    A prompt is `prompt_tokens` random letters with spaces between: a token each in most vocabularies, and no two
    prompts with a common beginning that a prefix cache could answer.
    """

    prompt_tokens: int
    output_tokens: int
    requests: int

    def prompt(self) -> str:
        """Return a prompt that was not there before."""
        return " ".join(random.choices(ascii_lowercase, k=self.prompt_tokens))


@dataclass(slots=True)
class Sample:
    """What one run saw: times in seconds, shares from 0 to 1. `errors` counts failed requests by reason."""

    seconds: float = 0.0
    tokens: int = 0
    prompt_tokens: list[int] = field(default_factory=list)
    ttfts: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    loads: list[discovery_pb2.Load] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Output tokens a second of all streams together."""
        return self.tokens / self.seconds if self.seconds else 0.0


async def run(client: AsyncClient, workload: Workload, streams: int, *, ignore_eos: bool) -> Sample:
    """Run the load once and return what was seen. Failed requests are counted, not raised."""
    sample = Sample()
    watching = asyncio.create_task(_watch(client, sample))
    began = time.monotonic()
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(streams):
                group.create_task(_stream(client, workload, sample, ignore_eos=ignore_eos))
        sample.seconds = time.monotonic() - began
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    return sample


async def _stream(client: AsyncClient, workload: Workload, sample: Sample, *, ignore_eos: bool) -> None:
    for _ in range(workload.requests):
        try:
            await _request(client, workload, sample, ignore_eos=ignore_eos)
        except BellhousingError as error:
            sample.errors[error.reason] = sample.errors.get(error.reason, 0) + 1


async def _request(client: AsyncClient, workload: Workload, sample: Sample, *, ignore_eos: bool) -> None:
    began, last = time.monotonic(), 0.0
    stream = client.generate(
        workload.prompt(), max_tokens=workload.output_tokens, ignore_eos=ignore_eos, coalescing=False
    )
    async with stream:
        async for delta in stream:
            now = time.monotonic()
            if last:
                sample.gaps += [(now - last) / max(delta.token_count, 1)] * delta.token_count
            else:
                sample.ttfts.append(now - began)
            last = now
            sample.tokens += delta.token_count
    if stream.finished:
        sample.prompt_tokens.append(stream.finished.usage.prompt_tokens)


async def _watch(client: AsyncClient, sample: Sample) -> None:
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        with suppress(BellhousingError):
            sample.loads.append(await client.load())

"""A TGI router that plays one recorded generation as fast as it can: `python -m benchmarks.replayed`.

Its port is the first line. All exchanges are recorded ones, but for the body of the generation's request: that is ours.
"""

import asyncio
from dataclasses import replace

import uvloop

from bellhousing.requests import GenerationRequest, Sampling
from bellhousing_tgi.completion import request_body
from bellhousing_tgi.prompts import SAMPLE
from tests.engines.recordings import Recording, recording
from tests.engines.replay import replaying

GENERATION = "stream_queued"
AROUND = ("launcher_info", "health_ok", "tokenize_empty", "tokenize", "chat_tokenize", "metrics_fresh")
TOKENS = 300
"""Of the recorded generation."""


def body() -> object:
    """Return the body that ours sends for `TOKENS` greedy tokens behind the prompt whose tokens are recorded."""
    wanted = Sampling(max_tokens=TOKENS, temperature=0.0, repetition_penalty=1.0, frequency_penalty=0.0)
    return request_body(GenerationRequest("", SAMPLE, wanted), SAMPLE, TOKENS)


def generation() -> Recording:
    """Return the generation as the answer to `body()`."""
    return replace(recording("tgi", GENERATION), body=body())


async def serve() -> None:
    """Serve until the process is ended."""
    async with replaying(generation(), *(recording("tgi", name) for name in AROUND)) as (server, _):
        print(server.url.rsplit(":", 1)[1], flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())

"""A TGI router that plays one recorded generation as fast as it can: `python -m benchmarks.replayed`.

Its port is the first line. All exchanges are recorded ones, but for the generation: longer, and asked for by our body.
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
TIMES = 10
"""So often its frames but the last are played, so that what a request costs once is not all that is measured."""
TOKENS = 299 * TIMES + 1


def body() -> object:
    """Return the body that ours sends for `TOKENS` greedy tokens behind the prompt whose tokens are recorded."""
    wanted = Sampling(max_tokens=TOKENS, temperature=0.0, repetition_penalty=1.0, frequency_penalty=0.0)
    return request_body(GenerationRequest("", SAMPLE, wanted), SAMPLE, TOKENS)


def generation() -> Recording:
    """Return the generation, made longer, as the answer to `body()`."""
    one = recording("tgi", GENERATION)
    return replace(one, body=body(), chunks=(*one.chunks[:-1] * TIMES, one.chunks[-1]))


async def serve() -> None:
    """Serve until the process is ended."""
    async with replaying(generation(), *(recording("tgi", name) for name in AROUND)) as (server, _):
        print(server.url.rsplit(":", 1)[1], flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())

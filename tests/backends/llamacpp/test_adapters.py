"""Adapters on the real engine, behind a real server."""

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bellhousing.errors import ConfigurationError, EngineUnavailable, NotFound, PreconditionFailed
from bellhousing.testing import Served, serving
from bellhousing_llamacpp.engines import Engines
from bellhousing_llamacpp.options import LlamaCppOptions
from bellhousing_llamacpp.server import Server, Shape
from tests.backends.llamacpp.test_suite import InlineLlamaCpp
from tests.backends.peft import halves, write_adapter

LAYERS, WIDTH, CONTEXT = 30, 576, 512
PROMPT = "Once upon a time, in a village by the sea, there lived an old man who"
GOOD = halves(LAYERS, WIDTH)
SPREAD = 0.1
"""Of the weights: more would be chaos, in which every rounding of a batch is as large as an adapter's effect."""
NEAR = 0.2
"""Nats that a log probability may move by when others are computed beside it; between adapters it moves by more."""
Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture(scope="session")
def adapters_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that servers take adapters from."""
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="session")
def serve(model_path: Path, adapters_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """The context manager that serves the model with options of its adapters."""

    @asynccontextmanager
    async def serve(
        *, slots: int = 8, places: int = 4, prefix_cache: bool = True, **lora: Any
    ) -> AsyncIterator[Served]:
        model = {
            "model": str(model_path),
            "adapter_roots": [str(adapters_path)],
            "adapter_slots": slots,
            "batching": {"max_sequences": places},
        }
        options = {
            "context_per_sequence": CONTEXT,
            "prefix_cache": prefix_cache,
            "lora": {"cache_directory": str(tmp_path_factory.mktemp("copies")), **lora},
        }
        async with serving(InlineLlamaCpp, model=model, options=options) as running:
            yield running

    return serve


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served(serve: Serve) -> AsyncIterator[Served]:
    """One server that tests share."""
    async with serve() as running:
        yield running


async def registered(served: Served, adapters_path: Path, name: str, seed: int) -> str:
    path = write_adapter(adapters_path / name, GOOD, seed=seed, spread=SPREAD)
    await served.client.register_adapter(name, path.as_uri())
    return name


async def complete(served: Served, adapter: str = "", prompt: str = PROMPT, tokens: int = 8) -> str:
    answer = await served.client.complete(prompt, adapter=adapter, max_tokens=tokens, temperature=0, ignore_eos=True)
    return answer.outputs[0].text


async def logprobs(served: Served, adapter: str, prompt: str = PROMPT) -> dict[int, float]:
    """Return the log probabilities of the most probable next tokens, by id."""
    answer = await served.client.complete(prompt, adapter=adapter, max_tokens=1, temperature=0, logprobs=20)
    (entry,) = answer.outputs[0].logprobs
    return {top.id: top.logprob for top in entry.top}


def off(left: dict[int, float], right: dict[int, float]) -> float:
    """Return the largest difference at the tokens that both tell; infinite when they tell none in common."""
    return max((abs(left[token] - right[token]) for token in left.keys() & right.keys()), default=math.inf)


@pytest.mark.asyncio(loop_scope="session")
class TestTogether:
    async def test_mixed_requests_over_adapters_and_the_base_equal_their_solo_runs(
        self, served: Served, adapters_path: Path
    ) -> None:
        names = ["", *[await registered(served, adapters_path, f"mixed-{seed}", seed) for seed in (1, 2)]]
        solo = {name: await logprobs(served, name) for name in names}
        found = await asyncio.gather(*(logprobs(served, names[number % 3]) for number in range(12)))
        for number, told in enumerate(found):
            for name in names:
                assert (off(told, solo[name]) < NEAR) == (name == names[number % 3])

    async def test_what_was_computed_of_a_prompt_is_of_its_adapter(self, served: Served, adapters_path: Path) -> None:
        names = [await registered(served, adapters_path, f"prefix-{seed}", seed) for seed in (3, 4)]
        prompts = [f"{' '.join([word] * 40)}. {PROMPT}" for word in ("sea", "road", "wind", "hill", "rain")]
        orders = [("", *names), (*names, ""), (names[1], "", names[0])]
        first: dict[tuple[str, str], dict[int, float]] = {}
        for order in orders:
            for prompt in prompts:  # more than there are places, so that prompts lose theirs
                for name in order:
                    told = await logprobs(served, name, prompt)
                    assert off(first.setdefault((prompt, name), told), told) < NEAR
        for prompt in prompts:
            for one, other in itertools.combinations(("", *names), 2):
                assert off(first[prompt, one], first[prompt, other]) > NEAR

    async def test_the_same_name_again_has_its_new_weights(self, served: Served, adapters_path: Path) -> None:
        outputs = []
        for seed in (11, 12):
            await registered(served, adapters_path, "again", seed)
            outputs.append(await complete(served, "again"))
            await served.client.unload_adapter("again", forget=True)
        assert outputs[0] != outputs[1]
        with pytest.raises(NotFound, match="no adapter named 'again'"):
            await complete(served, "again")

    async def test_a_gguf_adapter_is_served_as_the_one_it_was_converted_from(
        self, served: Served, adapters_path: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        name = await registered(served, adapters_path, "as-peft", 5)
        expected = await complete(served, name)
        (copy,) = [
            server.adapters[-1]
            for server in [engine.server for engine in served.model.backend._engines.living()]  # type: ignore[attr-defined]
        ]
        (adapters_path / "converted.gguf").write_bytes(copy.read_bytes())
        await served.client.register_adapter("as-gguf", (adapters_path / "converted.gguf").as_uri())
        assert await complete(served, "as-gguf") == expected

    async def test_adapters_that_cannot_be_served_leave_the_others_as_they_were(
        self, served: Served, adapters_path: Path, tmp_path: Path
    ) -> None:
        good = await registered(served, adapters_path, "good", 6)
        before = [await complete(served), await complete(served, good)]
        bad = {
            "rank": write_adapter(adapters_path / "rank", GOOD, r=4),
            "base": write_adapter(adapters_path / "base", halves(LAYERS, 64)),
            "nothing": write_adapter(adapters_path / "nothing", halves(LAYERS, WIDTH, module="no.such")),
            "dora": write_adapter(adapters_path / "dora", GOOD, use_dora=True),
            "cut": write_adapter(adapters_path / "cut", GOOD),
        }
        weights = bad["cut"] / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        (adapters_path / "noise.gguf").write_bytes(b"GGUF" + bytes(100))
        bad["noise"] = adapters_path / "noise.gguf"
        for name, path in bad.items():
            await served.client.register_adapter(name, path.as_uri())
            with pytest.raises(PreconditionFailed, match=f"adapter '{name}': expected") as refused:
                await complete(served, name)
            assert refused.value.reason == "ADAPTER_FORMAT"
        pickled = adapters_path / "pickled"
        pickled.mkdir()
        (pickled / "adapter_model.bin").write_bytes(b"\x80\x04")
        with pytest.raises(PreconditionFailed, match=r"expected one file of \.safetensors or \.gguf, found 0"):
            await served.client.register_adapter("pickled", pickled.as_uri())
        with pytest.raises(PreconditionFailed, match="outside the allowed directories"):
            await served.client.register_adapter("outside", write_adapter(tmp_path, GOOD).as_uri())
        assert [await complete(served), await complete(served, good)] == before


async def test_a_prompt_that_left_its_place_comes_back_for_no_other_adapter(serve: Serve, adapters_path: Path) -> None:
    weights = halves(LAYERS, WIDTH, module="self_attn.o_proj")
    source = write_adapter(adapters_path / "away", weights, seed=7, spread=0.2).as_uri()
    found = []
    for prefix_cache in (False, True):
        async with serve(places=1, prefix_cache=prefix_cache) as served:
            await served.client.register_adapter("away", source)
            other = " ".join(["one two three four"] * 10)
            for adapter, prompt in (("away", PROMPT), ("away", other), ("", other)):
                await logprobs(served, adapter, prompt)
            found.append(await logprobs(served, ""))
    assert off(*found) < NEAR


@pytest.mark.parametrize("change", ["beside", "after"])
async def test_streams_go_on_while_adapters_come_and_go(serve: Serve, adapters_path: Path, change: str) -> None:
    async with serve(slots=2, change=change) as served:
        first = await registered(served, adapters_path, f"{change}-1", 21)
        expected = [await complete(served, name, tokens=80) for name in ("", first)]
        streams = [asyncio.create_task(complete(served, name, tokens=80)) for name in ("", first)]
        others = [await registered(served, adapters_path, f"{change}-{number}", 20 + number) for number in (2, 3, 4)]
        texts = [await complete(served, name) for name in others]
        assert len(set(texts)) == 3
        assert await asyncio.gather(*streams) == expected
        backend = served.model.backend
        assert isinstance(backend, InlineLlamaCpp)
        async with asyncio.timeout(10):
            while len(backend._running().living()) > 1:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("beside", [True, False])
async def test_an_engine_that_cannot_load_adapters_serves_as_before(model_path: Path, *, beside: bool) -> None:
    engines = Engines(opening_of(model_path), beside=beside)
    await engines.open()
    try:
        with pytest.raises(ConfigurationError, match="cannot load"):
            await engines.change((Path("/nothing/here.gguf"),))
        assert engines.adapters == ()
        async with engines.lease() as server:
            assert await server.connection.ask("/slots")
        assert not engines.is_lost
    finally:
        await engines.close()


async def test_a_closed_engine_takes_no_requests(model_path: Path) -> None:
    engines = Engines(opening_of(model_path), beside=True)
    await engines.open()
    await engines.close()
    await engines.close()
    assert engines.living() == ()
    with pytest.raises(EngineUnavailable, match="not loaded"):
        async with engines.lease():
            pass


def opening_of(model: Path) -> Callable[[tuple[Path, ...]], Any]:
    async def opening(adapters: tuple[Path, ...]) -> Server:
        server = Server(model, Shape(1, 256, 64), LlamaCppOptions(), adapters)
        await server.open()
        return server

    return opening

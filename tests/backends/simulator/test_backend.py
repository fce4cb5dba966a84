"""The simulator as a backend: start and stop, what it tells of itself, adapters, sleep."""

import asyncio
from importlib.metadata import entry_points

import pytest

from bellhousing import registry
from bellhousing.backend import AdapterFiles
from bellhousing.capabilities import FIELDS
from bellhousing.errors import EngineUnavailable, NotFound
from bellhousing.requests import Chat, ChatMessage, Sampling
from bellhousing.settings import Batching, EngineSettings, ModelSpec
from bellhousing_simulator import IsolatedSimulatorBackend, SimulatorBackend, SimulatorOptions
from bellhousing_simulator.vocabulary import EOS, render
from tests.backends.simulator.conftest import Simulate, generate, request

LONG = Sampling(seed=1, max_tokens=60, ignore_eos=True)


def adapter(name: str, digest: str) -> AdapterFiles:
    return AdapterFiles(name, "/nowhere/adapter.safetensors", digest)


async def test_both_backends_are_installed_under_their_names() -> None:
    assert registry.load("simulator") is SimulatorBackend
    assert registry.load("simulator-process") is IsolatedSimulatorBackend
    names = {point.name for point in entry_points(group=registry.GROUP) if "simulator" in point.value}
    assert names == {SimulatorBackend.name, IsolatedSimulatorBackend.name}
    assert (SimulatorBackend.isolation, IsolatedSimulatorBackend.isolation) == ("inline", "process")


async def test_the_model_is_described(simulate: Simulate) -> None:
    backend = await simulate()
    info = await backend.start(lambda _: None)
    assert (info.context_length, info.max_running, info.vocabulary_size) == (4096, 256, 321)
    assert info.eos_token_ids == (EOS,)
    assert info.model_digest == backend.chain().digest
    assert info.effective.batching == Batching(max_sequences=256)


async def test_the_shared_setting_overrides_the_option() -> None:
    spec = ModelSpec(name="m", settings=EngineSettings(batching=Batching(max_sequences=3)))
    info = await SimulatorBackend(spec, SimulatorOptions(max_running=7)).start(lambda _: None)
    assert info.max_running == info.effective.batching.max_sequences == 3


async def test_all_fields_are_declared_but_those_it_cannot_honour(simulate: Simulate) -> None:
    info = await (await simulate()).start(lambda _: None)
    assert set(FIELDS) - set(info.capabilities.honoured()) == {
        "chat.template_arguments",
        "structured_output.json_schema",
        "structured_output.json_object",
        "structured_output.regex",
        "structured_output.grammar",
    }


async def test_unset_and_the_declared_default_are_the_same(simulate: Simulate) -> None:
    backend = await simulate()
    defaults = (await backend.start(lambda _: None)).defaults
    fields = {name: getattr(defaults, name) for name in defaults.__slots__} | {"seed": 1}
    assert await generate(backend, request("a")) == await generate(backend, request("a", Sampling(**fields)))


async def test_a_backend_that_is_not_running_says_so() -> None:
    backend = SimulatorBackend(ModelSpec(name="m"), SimulatorOptions())
    with pytest.raises(EngineUnavailable, match="not running"):
        await generate(backend, request())
    await backend.stop()


async def test_stopping_ends_the_streams_and_is_no_death(simulate: Simulate) -> None:
    backend = await simulate(first_token_seconds=60.0)
    watcher = asyncio.create_task(backend.died())
    reader = asyncio.create_task(generate(backend, request()))
    while not backend.counters.active_sequences:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await backend.stop()
    await backend.stop()
    with pytest.raises(EngineUnavailable, match="was stopped"):
        await reader
    assert not watcher.done()
    watcher.cancel()
    assert backend.counters.active_sequences == 0


async def test_tokens_come_with_their_bytes_and_back(simulate: Simulate) -> None:
    backend = await simulate()
    tokens = await backend.tokenize("q é", add_special=True)
    assert [token.piece for token in tokens] == [b"q", b" ", b"\xc3", b"\xa9"]
    assert await backend.detokenize([token.id for token in tokens]) == "q é".encode()
    assert await backend.tokenize("q é", add_special=False) == tokens


async def test_a_chat_is_tokenised_as_it_is_generated_from(simulate: Simulate) -> None:
    backend = await simulate()
    chat = Chat((ChatMessage("user", "hi"),))
    tokens = await backend.tokenize(chat, add_special=True)
    assert b"".join(token.piece for token in tokens) == render(chat).encode()
    assert len(tokens) == (await generate(backend, request(chat))).started.prompt_tokens


async def test_an_adapter_changes_the_output_until_it_is_unloaded(simulate: Simulate) -> None:
    backend = await simulate()
    base = await generate(backend, request("a", LONG))
    await backend.load_adapter(adapter("poet", "sha256:01"))
    adapted = await generate(backend, request("a", LONG, adapter="poet"))
    assert adapted.ids() != base.ids()
    assert (await generate(backend, request("a", LONG))).ids() == base.ids()
    assert backend.chain("poet").logits(0) != backend.chain().logits(0)
    await backend.unload_adapter("poet")
    with pytest.raises(NotFound):
        await generate(backend, request("a", LONG, adapter="poet"))


async def test_adapters_differ_by_digest_and_not_by_name(simulate: Simulate) -> None:
    backend = await simulate()
    for name, digest in (("a", "sha256:01"), ("b", "sha256:01"), ("c", "sha256:02")):
        await backend.load_adapter(adapter(name, digest))
    a, b, c = [(await generate(backend, request("a", LONG, adapter=name))).ids() for name in "abc"]
    assert a == b != c


async def test_an_adapter_loaded_again_under_its_name_has_the_new_weights(simulate: Simulate) -> None:
    backend = await simulate()
    outputs = []
    for digest in ("sha256:01", "sha256:02", "sha256:01"):
        await backend.load_adapter(adapter("poet", digest))
        outputs.append((await generate(backend, request("a", LONG, adapter="poet"))).ids())
    assert outputs[0] == outputs[2] != outputs[1]


async def test_new_weights_under_a_name_find_nothing_that_the_old_ones_cached(simulate: Simulate) -> None:
    backend = await simulate(prefix_cache=True)
    cached = []
    for digest in ("sha256:01", "sha256:01", "sha256:02", "sha256:01"):
        await backend.load_adapter(adapter("poet", digest))
        cached.append((await generate(backend, request("a" * 40, adapter="poet"))).started.cached_tokens)
    assert cached == [0, 32, 0, 32]


async def test_unloading_an_unknown_adapter_names_the_known_ones(simulate: Simulate) -> None:
    backend = await simulate()
    await backend.load_adapter(adapter("poet", "sha256:01"))
    with pytest.raises(NotFound) as refused:
        await backend.unload_adapter("poem")
    assert refused.value.near == ("poet",)


async def test_a_sleeping_model_refuses_and_a_woken_one_answers_as_before(simulate: Simulate) -> None:
    backend = await simulate()
    before = await generate(backend, request())
    await backend.sleep(2)
    with pytest.raises(EngineUnavailable) as refused:
        await generate(backend, request())
    assert refused.value.reason == "MODEL_SLEEPING"
    await backend.wake()
    assert await generate(backend, request()) == before


async def test_an_idle_engine_has_no_load(simulate: Simulate) -> None:
    load = await (await simulate()).load()
    assert (load.waiting, load.kv_cache_usage) == (0, 0.0)

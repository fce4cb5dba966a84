"""Adapters: refused by name before the engine sees them, and served beside each other by the real one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bellhousing.backend import AdapterFiles
from bellhousing.errors import ConfigurationError, NotFound, PreconditionFailed
from bellhousing.lora import check_adapter
from bellhousing.testing import Served
from bellhousing_vllm.null_adapter import write_null_adapter
from tests.backends.peft import halves, write_adapter
from tests.backends.vllm.conftest import FRANCE, MAX_RANK

LAYERS, WIDTH = 30, 576
BASE: dict[str, tuple[int, ...]] = {f"model.layers.{layer}.self_attn.q_proj.weight": (64, 64) for layer in range(2)}
GOOD = halves(2, 64)


def check(path: Path) -> None:
    check_adapter(AdapterFiles("mine", str(path), ""), BASE, MAX_RANK)


def test_an_adapter_that_fits_is_taken(tmp_path: Path) -> None:
    check(write_adapter(tmp_path, GOOD))


@pytest.mark.parametrize(
    ("tensors", "config", "message"),
    [
        (halves(2, 64, rank=32), {}, r"expected a rank of 1 to 16 \(options.lora.max_rank\), found 32"),
        (GOOD, {"r": 4}, r"lora_A.weight of shape \(4, 64\), for this base model, found \(8, 64\)"),
        (halves(2, 128), {}, r"shape \(8, 64\), for this base model, found \(8, 128\)"),
        (halves(2, 64, module="attention.query"), {}, "expected target modules of this base model, found base_model"),
        ({"scale": (1,)}, {}, r"expected tensors named \*.lora_A.\* and \*.lora_B.\*, found 1 others"),
        (GOOD, {"peft_type": "IA3"}, "expected peft_type LORA, found IA3"),
        (GOOD, {"use_dora": True}, "expected LoRA without DoRA"),
    ],
)
def test_an_adapter_of_another_kind_rank_or_model_is_refused(
    tmp_path: Path, tensors: dict[str, tuple[int, ...]], config: dict[str, Any], message: str
) -> None:
    with pytest.raises(PreconditionFailed, match=message) as refused:
        check(write_adapter(tmp_path, tensors, **config))
    assert refused.value.reason == "ADAPTER_FORMAT"


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_cut_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = write_adapter(tmp_path, GOOD) / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(PreconditionFailed, match=r"adapter 'mine': expected .* in adapter_model.safetensors, found"):
        check(tmp_path)


def test_a_directory_without_its_description_is_refused(tmp_path: Path) -> None:
    (write_adapter(tmp_path, GOOD) / "adapter_config.json").unlink()
    with pytest.raises(PreconditionFailed, match=r"expected a directory with adapter_config\.json"):
        check(tmp_path)


def test_the_adapter_for_the_base_model_is_one_that_fits_it(tmp_path: Path) -> None:
    write_null_adapter(tmp_path, BASE)
    check(tmp_path)
    with pytest.raises(ConfigurationError, match=r"options\.lora: expected a model with a module q_proj"):
        write_null_adapter(tmp_path, {"model.other.weight": (4, 4)})


@pytest.mark.engine
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.timeout(300)
class TestOnTheEngine:
    """With the real engine and model."""

    async def complete(self, served: Served, adapter: str = "") -> str:
        answer = await served.client.complete(FRANCE, adapter=adapter, max_tokens=6, temperature=0, ignore_eos=True)
        return answer.outputs[0].text

    async def test_16_mixed_requests_over_4_adapters_and_the_base_equal_their_solo_runs(
        self, served: Served, adapters_path: Path
    ) -> None:
        names = [f"mixed-{number}" for number in range(4)]
        for seed, name in enumerate(names):
            path = write_adapter(adapters_path / name, halves(LAYERS, WIDTH), seed=seed)
            await served.client.register_adapter(name, path.as_uri())
        wanted = ["", *names]
        solo = {name: await self.complete(served, name) for name in wanted}
        assert len(set(solo.values())) == 5
        mixed = [wanted[number % 5] for number in range(16)]
        found = await asyncio.gather(*(self.complete(served, name) for name in mixed))
        assert found == [solo[name] for name in mixed]
        for name in names:
            await served.client.unload_adapter(name, forget=True)

    async def test_log_probabilities_of_prompts_beside_each_other_over_adapters_equal_those_alone(
        self, served: Served, adapters_path: Path
    ) -> None:
        path = write_adapter(adapters_path / "prompts", halves(LAYERS, WIDTH), seed=7)
        await served.client.register_adapter("prompts", path.as_uri())

        async def ask(number: int) -> list[float]:
            prompt, adapter = f"{number} ships. {FRANCE}", "prompts" if number % 2 else ""
            answer = await served.client.complete(prompt, adapter=adapter, max_tokens=1, prompt_logprobs=0)
            return [entry.logprob for entry in answer.outputs[0].prompt_logprobs if entry.logprob]

        alone = [await ask(number) for number in range(6)]
        beside = await asyncio.gather(*(ask(number) for number in range(6)))
        assert len(alone[0]) > 5
        for found, expected in zip(beside, alone, strict=True):
            assert found == pytest.approx(expected, abs=1e-3)
        await served.client.unload_adapter("prompts", forget=True)

    async def test_another_adapter_under_the_same_name_is_served_with_its_own_weights(
        self, served: Served, adapters_path: Path
    ) -> None:
        outputs = []
        for seed in (11, 12):
            path = write_adapter(adapters_path / "again", halves(LAYERS, WIDTH), seed=seed)
            await served.client.register_adapter("again", path.as_uri())
            outputs.append(await self.complete(served, "again"))
            await served.client.unload_adapter("again", forget=True)
        assert outputs[0] != outputs[1]
        with pytest.raises(NotFound, match="no adapter named 'again'"):
            await self.complete(served, "again")

    async def test_adapters_that_cannot_be_served_leave_the_base_model_as_it_was(
        self, served: Served, adapters_path: Path, tmp_path: Path
    ) -> None:
        before = await self.complete(served)
        bad = {
            "rank": write_adapter(adapters_path / "rank", halves(LAYERS, WIDTH, rank=64)),
            "base": write_adapter(adapters_path / "base", halves(LAYERS, 64)),
            "nothing": write_adapter(adapters_path / "nothing", halves(LAYERS, WIDTH, module="no.such")),
        }
        for name, path in bad.items():
            await served.client.register_adapter(name, path.as_uri())
            with pytest.raises(PreconditionFailed, match=f"adapter '{name}': expected"):
                await self.complete(served, name)
        pickled = adapters_path / "pickled"
        pickled.mkdir(exist_ok=True)
        (pickled / "adapter_model.bin").write_bytes(b"\x80\x04")
        with pytest.raises(PreconditionFailed, match=r"expected one file of \.safetensors or \.gguf, found 0"):
            await served.client.register_adapter("pickled", pickled.as_uri())
        with pytest.raises(PreconditionFailed, match="outside the allowed directories"):
            await served.client.register_adapter("outside", write_adapter(tmp_path, GOOD).as_uri())
        assert await self.complete(served) == before

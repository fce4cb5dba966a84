"""The host tier: adapters that left the device come back from host memory, told from others by their weights."""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bellhousing.backend import AdapterFiles
from bellhousing.errors import PreconditionFailed
from bellhousing.testing import Served
from bellhousing.testing.probe import Probe
from bellhousing_vllm.arguments import most_on_host
from bellhousing_vllm.options import VllmOptions
from tests.backends.peft import halves, write_adapter
from tests.backends.vllm.conftest import FRANCE, MOST_ON_HOST

LAYERS, WIDTH = 30, 576
LONG = f"{FRANCE} Paris, as everybody knows. " * 16
"""Of more tokens than a block of the prefix cache has."""


def adapter(root: Path, name: str, seed: int) -> AdapterFiles:
    path = write_adapter(root / name, halves(LAYERS, WIDTH), seed=seed)
    return AdapterFiles(name, str(path), f"sha256:{seed:064x}", f"sha256:{seed:064x}")


def test_host_memory_holds_64_adapters_or_a_batch_of_them_unless_told() -> None:
    found = [most_on_host(VllmOptions.model_validate({"lora": lora})) for lora in ({"max_loras": 4}, {"max_loras": 99})]
    assert found == [64, 99]
    assert most_on_host(VllmOptions.model_validate({"lora": {"max_loras": 4, "max_cpu_loras": 5}})) == 5


@pytest.mark.engine
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.timeout(300)
class TestOnTheEngine:
    """With the real engine and model."""

    async def said(self, probe: Probe, name: str) -> bytes:
        return (await probe.run(replace(probe.request(FRANCE, max_tokens=6, ignore_eos=True), adapter=name))).text()

    async def test_an_adapter_that_left_the_device_comes_back_without_its_files(
        self, probe: Probe, tmp_path: Path
    ) -> None:
        files = adapter(tmp_path, "away", 31)
        await probe.backend.load_adapter(files)
        before = await self.said(probe, "away")
        assert before != await self.said(probe, "")
        await probe.backend.unload_adapter("away")
        shutil.rmtree(files.path)
        await probe.backend.load_adapter(files)
        assert await self.said(probe, "away") == before
        await probe.backend.unload_adapter("away")

    async def test_who_left_longest_ago_makes_room_in_host_memory(self, probe: Probe, tmp_path: Path) -> None:
        many = [adapter(tmp_path, f"many-{seed}", seed) for seed in range(40, 41 + MOST_ON_HOST)]
        for files in many:
            await probe.backend.load_adapter(files)
            await probe.backend.unload_adapter(files.name)
            shutil.rmtree(files.path)
        with pytest.raises(PreconditionFailed, match="expected a directory with adapter_config"):
            await probe.backend.load_adapter(many[0])
        await probe.backend.load_adapter(many[-1])
        await probe.backend.unload_adapter(many[-1].name)

    async def test_adapters_that_are_loaded_at_once_are_each_their_own(self, probe: Probe, tmp_path: Path) -> None:
        many = [adapter(tmp_path, f"at-once-{seed}", seed) for seed in range(60, 64)]
        alone = []
        for files in many:
            await probe.backend.load_adapter(files)
            alone.append(await self.said(probe, files.name))
            await probe.backend.unload_adapter(files.name)
        await asyncio.gather(*(probe.backend.load_adapter(files) for files in many))
        assert [await self.said(probe, files.name) for files in many] == alone
        assert len(set(alone)) == len(alone)
        for files in many:
            await probe.backend.unload_adapter(files.name)

    async def test_another_configuration_beside_the_same_weights_is_another_adapter(
        self, probe: Probe, tmp_path: Path
    ) -> None:
        first = adapter(tmp_path, "scaled", 71)
        await probe.backend.load_adapter(first)
        weak = await self.said(probe, "scaled")
        await probe.backend.unload_adapter("scaled")
        write_adapter(tmp_path / "scaled", halves(LAYERS, WIDTH), seed=71, lora_alpha=512)
        second = AdapterFiles(first.name, first.path, first.digest, f"sha256:{72:064x}")
        await probe.backend.load_adapter(second)
        assert await self.said(probe, "scaled") != weak
        await probe.backend.unload_adapter("scaled")

    async def test_other_weights_under_a_name_and_path_are_not_answered_from_the_prefix_cache(
        self, served: Served, adapters_path: Path
    ) -> None:
        async def said(name: str, folder: str, seed: int) -> str:
            path = write_adapter(adapters_path / folder, halves(LAYERS, WIDTH), seed=seed)
            await served.client.register_adapter(name, path.as_uri())
            answers = [
                await served.client.complete(LONG, adapter=name, max_tokens=8, temperature=0, ignore_eos=True)
                for _ in range(2)
            ]
            await served.client.unload_adapter(name, forget=True)
            assert answers[0].outputs[0].text == answers[1].outputs[0].text
            return str(answers[0].outputs[0].text)

        first = await said("changing", "changing", 81)
        second = await said("changing", "changing", 82)
        assert second != first
        assert second == await said("elsewhere", "elsewhere", 82)

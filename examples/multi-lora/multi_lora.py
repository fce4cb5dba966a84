"""Serve many LoRA adapters on a few places: `python multi_lora.py --backend vllm --model DIR`.

It makes small adapters of random numbers in PEFT's format, starts a server, registers them all, asks for them at random
with a few favourites, and tells what each said and how often one had to be loaded. It writes the files without `peft`,
which would bring PyTorch along; the README says where that format is checked against `peft`.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from bellhousing import AsyncClient
from bellhousing.launch import ServerProcess

PROMPT = "The capital of France is"
RANK = 8
SCALE = 0.3
"""Of the random numbers: enough that each adapter says something of its own."""
WORKERS = 8
READY_SECONDS = 300.0
ANY = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
"""The shape of adapters for an engine that does not read them."""


def write_adapter(directory: Path, shape: dict[str, int], seed: int) -> None:
    """Write an adapter for the queries of every layer, as `peft` saves it: two matrices a layer and a description."""
    width, draw = shape["hidden_size"], np.random.default_rng(seed)
    rows = shape["num_attention_heads"] * shape.get("head_dim", width // shape["num_attention_heads"])
    tensors = {}
    for layer in range(shape["num_hidden_layers"]):
        module = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{module}.lora_A.weight"] = draw.normal(0, SCALE, (RANK, width)).astype(np.float32)
        tensors[f"{module}.lora_B.weight"] = draw.normal(0, SCALE, (rows, RANK)).astype(np.float32)
    directory.mkdir(parents=True)
    save_file(tensors, directory / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": ["q_proj"]}
    (directory / "adapter_config.json").write_text(json.dumps(config))


def model_of(arguments: argparse.Namespace, roots: Path) -> dict[str, Any]:
    """Return the configuration of the model: how many adapters are on the device, and where they may come from."""
    model = {"backend": arguments.backend, "adapter_roots": [str(roots)], "adapter_slots": arguments.slots}
    if arguments.backend == "vllm":
        lora = {"max_loras": arguments.slots, "max_rank": RANK}
        model |= {"options": {"eager": True, "context_length": 256, "kv_cache_gib": 0.5, "lora": lora}}
    return model | ({"model": str(arguments.model)} if arguments.model else {})


def shape_of(model: Path | None) -> dict[str, int]:
    """Return the shape of a Hugging Face directory."""
    return json.loads((model / "config.json").read_text()) if model else ANY


async def ask(client: AsyncClient, names: list[str]) -> dict[str, str]:
    """Ask for each adapter in turn, several at once; return what each said."""
    said: dict[str, str] = {}
    wanted = iter(names)

    async def work() -> None:
        for name in wanted:
            answer = await client.complete(PROMPT, adapter=name, max_tokens=8, temperature=0, timeout=60)
            said[name] = answer.outputs[0].text

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return said


async def show(client: AsyncClient, arguments: argparse.Namespace) -> None:
    """Ask and tell."""
    names = sorted([adapter.name async for adapter in client.adapters()])
    popular = [1 / (rank + 1) for rank in range(len(names))]
    wanted = random.Random(arguments.seed).choices(names, popular, k=arguments.requests)
    began = time.perf_counter()
    said = await ask(client, wanted)
    seconds = time.perf_counter() - began
    base = await client.complete(PROMPT, max_tokens=8, temperature=0, timeout=60)
    print(f"{'base model':12} {base.outputs[0].text!r}")
    for name in sorted(said):
        adapter = await client.adapter(name)
        print(f"{name:12} {said[name]!r}, asked {wanted.count(name)} times, loaded {adapter.load_count}")
    loads = sum([adapter.load_count async for adapter in client.adapters()])
    load = await client.load()
    print(f"{len(wanted)} requests for {len(said)} of {len(names)} adapters in {seconds:.1f} s; {loads} loads")
    print(f"on the device: {len(load.resident_adapters)} of {load.adapter_slots}")


async def main() -> None:
    """Make adapters, serve and ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="simulator")
    parser.add_argument("--model", type=Path, help="a Hugging Face directory, for an engine that has weights")
    parser.add_argument("--adapters", type=int, default=20)
    parser.add_argument("--slots", type=int, default=4, help="adapters on the device at once")
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="multi-lora-") as folder:
        roots = Path(folder)
        for number in range(arguments.adapters):
            write_adapter(roots / f"adapter-{number:03}", shape_of(arguments.model), number)
        async with ServerProcess([model_of(arguments, roots)]) as server:
            await server.wait_serving(READY_SECONDS)
            async with AsyncClient(server.address) as client:
                async for message in client.import_adapters(roots.as_uri()):
                    if message.HasField("refused"):
                        print(f"refused: {message.refused}")
                await show(client, arguments)


if __name__ == "__main__":
    asyncio.run(main())

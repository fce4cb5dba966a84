"""`AsyncLLM` called directly: `python -m benchmarks.vllm_direct MODEL [ARGUMENTS]`, in its environment.

`ARGUMENTS` is JSON of further arguments of the engine.

Each line of input is a task in JSON: `{"streams", "prompt", "tokens"}` is answered with the tokens' times since the
call, in seconds, a list for each stream; `{"adapter", "number"}` with the seconds that `add_lora` took.
"""

import asyncio
import json
import sys
import time
import uuid
from typing import Any

from benchmarks.vllm_settings import ARGUMENTS


async def main() -> None:
    """Answer until the input ends."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    arguments = ARGUMENTS | (json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
    llm = AsyncLLM.from_engine_args(AsyncEngineArgs(model=sys.argv[1], **arguments))
    print("ready", flush=True)
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            task = json.loads(line)
            answer = await _answer(llm, task)
            print(json.dumps(answer), flush=True)
    finally:
        llm.shutdown()


async def _answer(llm: Any, task: dict[str, Any]) -> Any:
    if "adapter" in task:
        return await add_lora(llm, task)
    prompts = [f"{number} {task['prompt']}" for number in range(task["streams"])]
    return await asyncio.gather(*(stream(llm, prompt, task["tokens"]) for prompt in prompts))


async def stream(llm: Any, prompt: str, tokens: int) -> list[float]:
    """Return the time of each token since the call."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    began, stamps = time.perf_counter(), list[float]()
    parameters = SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True, output_kind=RequestOutputKind.DELTA)
    async for output in llm.generate(prompt, parameters, uuid.uuid4().hex):
        stamps += [time.perf_counter() - began] * len(output.outputs[0].token_ids)
    return stamps


async def add_lora(llm: Any, task: dict[str, Any]) -> float:
    """Return the seconds that loading an adapter took."""
    from vllm.lora.request import LoRARequest

    began = time.perf_counter()
    await llm.add_lora(LoRARequest(f"adapter-{task['number']}", task["number"], task["adapter"]))
    return time.perf_counter() - began


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())

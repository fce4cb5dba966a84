"""Ask in a chat, asynchronously: `python chat.py QUESTION [ADDRESS]`."""

import asyncio
import sys

from bellhousing import AsyncClient


async def main(question: str, address: str) -> None:
    """Print the answer as it comes."""
    messages = [{"role": "system", "content": "Answer in one sentence."}, {"role": "user", "content": question}]
    async with AsyncClient(address) as client, client.generate(messages=messages, max_tokens=64, timeout=60) as stream:
        async for delta in stream:
            print(delta.text, end="", flush=True)
    print()


asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:50051"))

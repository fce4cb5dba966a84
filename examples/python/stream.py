"""Stream a completion: `python stream.py PROMPT [ADDRESS]`."""

import sys

from bellhousing import Client

with Client(sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:50051") as client:
    stream = client.generate(sys.argv[1], max_tokens=32, temperature=0, timeout=60)
    for delta in stream:
        print(delta.text, end="", flush=True)
    print(f"\nTTFT {1000 * (stream.ttft or 0):.0f} ms")

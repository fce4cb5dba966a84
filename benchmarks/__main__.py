"""Run every section and print its table; `--write` fills docs/benchmarks.md. Exit code 1: a bound was missed."""

import argparse
import asyncio
import datetime
import signal
import sys
from pathlib import Path

from benchmarks import (
    adapter_policies,
    contract,
    engine,
    load_generator,
    many_adapters,
    monitoring,
    ollama_production,
    over_ollama,
    over_tgi,
    over_vllm,
    streams,
    vllm_adapter_settings,
    vllm_many_adapters,
)
from benchmarks.figures import Figure, machine, table

SECTIONS = {
    "Contract overhead on the simulator at zero latency": contract.measure,
    "Many streams": streams.measure,
    "Metrics on and off": monitoring.measure,
    "The load generator": load_generator.measure,
    "Ten thousand adapters": many_adapters.measure,
    "Adapter policies": adapter_policies.measure,
    "Over llama.cpp called directly": engine.measure,
    "Over vLLM called directly, and beside its own server": over_vllm.measure,
    "Loading an adapter, over vLLM called directly": over_vllm.measure_adapters,
    "Two hundred adapters on vLLM": vllm_many_adapters.measure,
    "Adapters on vLLM: places, host memory, rank and skew": vllm_adapter_settings.measure,
    "Over TGI's own API, replayed": over_tgi.measure,
    "Over Ollama's own API": over_ollama.measure,
    "When Ollama works in production": ollama_production.measure,
}
NOTES = {
    adapter_policies.measure: """
The share of requests that find their adapter on the device; every other one is loaded. 200 adapters, 20,000 requests a
trace. *Best possible* knows the future. Drawn traces: the figures do not depend on the machine.
""",
    many_adapters.measure: """
The registry is a SQLite file, the client another process than the server. Each registration reads the adapter's two
files and is answered once it is in the registry. Memory is what Python holds after the registry was opened.
""",
    engine.measure: """
A client's first token crosses gRPC twice, and a Python gRPC server alone takes nearly the whole bound here; the rest is
the server's admission and the way to the engine's own process and back, the price of surviving its crashes.
""",
    load_generator.measure: """
Poisson arrivals through the contract, one message a token unless the server merged them. The generator is one process
of one thread of Python; server and generator share the machine.
""",
    over_vllm.measure: """
`AsyncLLM` is called with the arguments that the backend hands it. vLLM's own server has the same weights, precision,
threads, cache and scheduler, and on a CPU an executor of its own choice: a process for the scheduler, which spins,
beside the one that computes. The backend puts both into one process; in the rows "with our executor" so does it.

What the way adds to a TTFT is measured on the requests themselves: the client's TTFT less the time from the backend's
call to the first tokens of `AsyncLLM`, which is what a direct caller waits for; with several streams, in a closed loop
of outputs of unequal length. Server and client have one processor for themselves here, and with 16 streams each step of
the engine gives them 16 messages at once.
""",
    vllm_many_adapters.measure: """
200 adapters of rank 8 for attention, popularity rank ** -1, 8 places; the engine runs 16 requests at once. The best
possible is Belady's rule on the same trace, one request after another, where each adapter that is wanted is loaded.
With a queue several requests share a load, and those whose adapter is there pass others, so it can be surpassed.
Without one the 16 that run hold the places, and what is popular goes as soon as it is idle. In the other arm all 200
have a place, which this small model leaves memory for.

The TTFT that a cold adapter adds is that of its first request less that of its second, without other requests, over
`add_lora` of the same files in an engine with the same arguments. Inter-token latency is that of 4 streams, beside
requests of one token for adapters that must be loaded and for some that need not.
""",
    vllm_adapter_settings.measure: """
Each differs in one thing from the base: 200 adapters of rank 8 for attention, 8 places, 4 GiB of host memory for those
that left them, popularity rank ** -1, 48 requests open of which the engine runs 16.
""",
}
DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
INTRODUCTION = """# Benchmarks

Written by `make bench`: ratios and differences within one run, the arms of each pair interleaved in random order,
medians with order-statistic intervals. Absolute times of such a small machine say little, so none are given. One
message a token means `COALESCING_NEVER`; server and client share the machine's processors.
"""


def main() -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    parser.add_argument("--section", help="only sections whose title contains this")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that no server is left running
    today = datetime.datetime.now(datetime.UTC).date()
    figures = list[Figure]()
    for title, measure in SECTIONS.items():
        if arguments.section and arguments.section not in title:
            continue
        found = asyncio.run(measure())
        figures += found
        text = f"## {title}\n\n{today}: {machine()}.\n\n{table(found)}\n{NOTES.get(measure, '')}"
        print(text, flush=True)
        if arguments.write:
            write(text)
    return 0 if all(f.is_met for f in figures) else 1


def write(section: str) -> None:
    """Put a section into docs/benchmarks.md, in the place of the one with its title."""
    found = DOCUMENT.read_text().split("\n## ")[1:] if DOCUMENT.is_file() else []
    sections = {text.partition("\n")[0]: text.strip() for text in found}
    body = section.removeprefix("## ")
    sections[body.partition("\n")[0]] = body.strip()
    DOCUMENT.write_text("\n## ".join([INTRODUCTION, *(f"{text}\n" for text in sections.values())]))


if __name__ == "__main__":
    sys.exit(main())

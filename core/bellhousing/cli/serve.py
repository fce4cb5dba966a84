"""`bellhousing serve`."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from bellhousing.cli.logs import Level, set_up
from bellhousing.cli.output import WRONG, fail, say, stderr
from bellhousing.cli.progress import BarDisplay, LineDisplay
from bellhousing.cli.spread import spread
from bellhousing.config import Config, load_config
from bellhousing.errors import BellhousingError, ConfigurationError
from bellhousing.plugins import Plugins

DEFAULT_FILE = Path("bellhousing.toml")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelFlags:
    """One model, as flags."""

    backend: Annotated[str, Option(envvar="BELLHOUSING_BACKEND", help="Backend; see `bellhousing backends`.")] = ""
    model: Annotated[
        str,
        Option(envvar="BELLHOUSING_MODEL", help="A path, hf://org/name[@revision][/file] or pkg://distribution/path."),
    ] = ""
    name: Annotated[str, Option(help="Name of the model in requests; by default from --model.")] = ""
    max_sequences: Annotated[int | None, Option(help="Most sequences decoded at once.", min=1)] = None
    option: Annotated[
        list[str] | None,
        Option("--option", "-o", help="Option of the backend; may be repeated.", metavar="KEY=VALUE"),
    ] = None

    def settings(self) -> list[dict[str, Any]]:
        """Return the model as the configuration has it; none without a backend. Raises `ConfigurationError`."""
        if self.backend:
            batching = {"max_sequences": self.max_sequences} if self.max_sequences is not None else {}
            options = dict(_pair(text) for text in self.option or ())
            model = {"backend": self.backend, "model": self.model, "name": self.name}
            return [{**model, "batching": batching, "options": options}]
        if self.model or self.name or self.max_sequences is not None or self.option:
            raise ConfigurationError(
                "--model (or BELLHOUSING_MODEL), --name, --max-sequences and --option describe one model:"
                " expected --backend too, found none",
                hint="`bellhousing backends` lists what is installed.",
            )
        return []


@dataclass(frozen=True, slots=True)
class Logging:
    """How the server logs, as flags."""

    log_level: Annotated[Level, Option(help="Least severity to log.")] = Level.info
    json_logs: Annotated[bool, Option("--json-logs", help="Log lines of JSON, and nothing else.")] = False


def add(app: typer.Typer, plugins: Plugins) -> None:
    """Add the command."""

    @app.command()
    @spread
    def serve(
        flags: ModelFlags,
        logs: Logging,
        config: Annotated[
            Path | None, Option("--config", "-c", help="Configuration; by default bellhousing.toml, if it is there.")
        ] = None,
        host: Annotated[str | None, Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
        port: Annotated[
            int | None, Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535, show_default="50051")
        ] = None,
    ) -> None:
        """Serve models over gRPC until SIGTERM or Ctrl-C.

        Flags go over environment variables (`BELLHOUSING_SERVER__PORT=50052`), which go over the file.

        Examples:

        `bellhousing serve --backend simulator --port 0 -o inter_token_seconds=0.02`

        `bellhousing serve --backend NAME --model ./model.gguf --max-sequences 8`

        `bellhousing serve --config bellhousing.toml --json-logs`
        """
        set_up(logs.log_level, stderr, as_json=logs.json_logs)
        try:
            code = _serve(configuration(flags, config, host, port), plugins, as_json=logs.json_logs)
        except BellhousingError as error:  # whatever keeps a server from serving needs a person
            fail(error)
            code = WRONG
        raise typer.Exit(code)


def configuration(flags: ModelFlags, file: Path | None, host: str | None = None, port: int | None = None) -> Config:
    """Return what flags, environment and file say together. Raises `ConfigurationError` when it names no model."""
    server = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    given = {"server": server, "models": flags.settings()}
    chosen = file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    config = load_config(chosen, {name: value for name, value in given.items() if value})
    if not config.models:
        raise ConfigurationError(
            "nothing to serve: expected --backend, or models in a configuration file",
            hint="`bellhousing backends` lists what is installed.",
        )
    return config


def _serve(config: Config, plugins: Plugins, *, as_json: bool) -> int:
    from bellhousing.cli.service import run_service  # the server's modules cost the other commands half a second

    tell = logger.info if as_json else say
    has_bars = stderr.is_terminal and not as_json
    return run_service(config, plugins, BarDisplay(stderr) if has_bars else LineDisplay(tell), tell)


def _pair(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise ConfigurationError(f"--option {text!r}: expected KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value

"""`bellhousing generate`: one prompt, streamed."""

import json
import sys
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from bellhousing.capabilities import UINT32_MAX
from bellhousing.cli.connect import Connection, Model
from bellhousing.cli.output import as_json, print_json, say
from bellhousing.cli.spread import spread
from bellhousing.client import Stream
from bellhousing.errors import ConfigurationError
from bellhousing.plugins import Plugins
from bellhousing.v1 import inference_pb2 as pb

Priority = StrEnum("Priority", ["low", "normal", "high"])
SHAPES = ("json_schema", "json_object", "regex", "grammar", "choice")


def _count(text: str, **settings: Any) -> Any:
    return Option(help=text, min=0, max=UINT32_MAX, **settings)


@dataclass(frozen=True, slots=True)
class Request:
    """What a generation may be told; names as in the client's `generate`."""

    model: Model = ""
    max_tokens: Annotated[int | None, _count("Most tokens to generate.")] = None
    min_tokens: Annotated[int | None, _count("Fewest tokens to generate.")] = None
    temperature: Annotated[float | None, Option(help="Divides the logits; 0 is greedy.")] = None
    top_p: Annotated[float | None, Option(help="Nucleus mass to keep.")] = None
    top_k: Annotated[int | None, _count("Most probable tokens to keep; 0 is off.")] = None
    min_p: Annotated[float | None, Option(help="Least relative probability to keep.")] = None
    repetition_penalty: Annotated[float | None, Option(help="Above 1 discourages repetition.")] = None
    presence_penalty: Annotated[float | None, Option(help="Subtracted once from tokens already there.")] = None
    frequency_penalty: Annotated[float | None, Option(help="Subtracted for each time a token is there.")] = None
    seed: Annotated[int | None, _count("Seed of the draws.")] = None
    n: Annotated[int | None, _count("Sequences to generate.")] = None
    stop: Annotated[list[str] | None, Option(help="Stop string; may be repeated.")] = None
    ignore_eos: Annotated[bool, Option("--ignore-eos", help="Go on past the end token.")] = False
    logprobs: Annotated[int | None, _count("Log probabilities, with this many alternatives; see --json.")] = None
    json_schema: Annotated[
        str | None, Option(help="JSON Schema of the output: the text, or a file.", metavar="FILE|TEXT")
    ] = None
    json_object: Annotated[bool, Option("--json-object", help="The output is a JSON object.")] = False
    regex: Annotated[str | None, Option(help="Regular expression that the output matches.")] = None
    grammar: Annotated[str | None, Option(help="Grammar of the output, or @FILE.", metavar="TEXT|@FILE")] = None
    choice: Annotated[list[str] | None, Option(help="An allowed output; may be repeated.")] = None
    adapter: Annotated[str | None, Option(help="Adapter to apply.")] = None
    priority: Annotated[Priority | None, Option(help="Place in the queue.")] = None
    time_budget: Annotated[float | None, Option(help="Seconds after which the output ends well.", min=0)] = None
    best_effort: Annotated[bool, Option("--best-effort", help="Ignore what the model cannot honour.")] = False

    def arguments(self) -> dict[str, Any]:
        """Return what was given, for the client. Raises `ConfigurationError` for a file that cannot be read."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given = {name: it for name, it in given.items() if it is not None and it is not False and it != ""}
        shapes = [f"--{name.replace('_', '-')}" for name in SHAPES if name in given]
        if len(shapes) > 1:
            raise ConfigurationError(f"expected one form of the output, found {' and '.join(shapes)}")
        if self.json_schema:
            given["json_schema"] = _schema(self.json_schema)
        if self.grammar and self.grammar.startswith("@"):
            given["grammar"] = _read(self.grammar[1:], "--grammar")
        return given


def add(app: typer.Typer, _plugins: Plugins) -> None:
    """Add the command."""

    @app.command()
    @spread
    def generate(
        prompt: Annotated[str, typer.Argument(help="What to continue; - reads standard input.")],
        request: Request,
        connection: Connection,
        timeout: Annotated[float | None, Option(help="Deadline in seconds.", min=0)] = None,
        token_ids: Annotated[
            bool, Option("--token-ids", help="The prompt is token ids, separated by spaces or commas.")
        ] = False,
        as_lines: Annotated[bool, Option("--json", help="Print each event as a line of JSON.")] = False,
    ) -> None:
        """Continue a prompt: text on standard output as it comes, statistics on standard error.

        Examples:

        `bellhousing generate "The capital of France is" --temperature 0 --max-tokens 8`

        `bellhousing generate "Heads or tails? " --choice heads --choice tails --json`

        `cat story.txt | bellhousing generate - --stop "THE END"`
        """
        text = _standard_input() if prompt == "-" else prompt
        wanted = _ids(text) if token_ids else text
        with (
            connection.client() as client,
            client.generate(wanted, timeout=timeout, **request.arguments()) as stream,
        ):
            (_show_events if as_lines else _show_text)(stream)


def _show_events(stream: Stream) -> None:
    """Print each event as a line of JSON, as it comes."""
    has_started = False
    for delta in stream:
        has_started = has_started or _show_started(stream)
        print_json({"delta": as_json(delta)})
    if not has_started:
        _show_started(stream)
    print_json({"finished": as_json(stream.finished or pb.Finished())})


def _show_started(stream: Stream) -> bool:
    print_json({"started": as_json(stream.started or pb.Started())})
    return True


def _show_text(stream: Stream) -> None:
    """Print the text as it comes, and the statistics. Of several sequences, each when all are there."""
    texts: dict[int, str] = {}
    try:
        for delta in stream:
            texts[delta.index] = texts.get(delta.index, "") + delta.text
            if stream.started and stream.started.effective.n <= 1:
                write(delta.text)
        if len(texts) > 1:
            write("\n".join(f"[{index}] {texts[index]}" for index in sorted(texts)))
    finally:
        write("\n")
    for ignored in stream.started.ignored if stream.started else ():
        say(f"ignored {ignored.field}: {ignored.reason}")
    say(statistics(stream))


def write(text: str) -> None:
    """Write output of the model to standard output at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def statistics(stream: Stream) -> str:
    """Return TTFT, tokens, tokens a second and how it ended, as one line."""
    if stream.finished is None:
        return "the stream has not ended"
    usage = stream.finished.usage
    names = [pb.FinishReason.Name(end.finish_reason) for end in stream.finished.sequences]
    reasons = ", ".join(name.removeprefix("FINISH_REASON_").lower() for name in names)
    cached = f" ({usage.cached_tokens} cached)" if usage.HasField("cached_tokens") else ""
    told = [f"{usage.completion_tokens} tokens"]
    if stream.ttft is not None:
        told.insert(0, f"TTFT {stream.ttft * 1000:.0f} ms")
        seconds = stream.elapsed - stream.ttft
        if usage.completion_tokens > 1 and seconds > 0:
            told.append(f"{(usage.completion_tokens - 1) / seconds:.1f} tokens/s")
    return ", ".join([*told, f"prompt {usage.prompt_tokens} tokens{cached}", f"ended by {reasons}"])


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"standard input: expected UTF-8, found {error.reason}") from error


def _ids(text: str) -> list[int]:
    parts = text.replace(",", " ").split()
    wrong = [part for part in parts if not (part.isascii() and part.isdigit() and int(part) <= UINT32_MAX)]
    if wrong or not parts:
        found = repr(wrong[0]) if wrong else "none"
        raise ConfigurationError(f"--token-ids: expected token ids separated by spaces, found {found}")
    return [int(part) for part in parts]


def _schema(value: str) -> str:
    """Return a schema: the text itself when it is JSON, a file's otherwise."""
    text = value if value.lstrip().startswith("{") else _read(value.removeprefix("@"), "--json-schema")
    try:
        json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"--json-schema: expected JSON, found {error}") from error
    return text


def _read(file: str, option: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        found = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{option}: expected a file of text at {file!r}, found: {found}") from error

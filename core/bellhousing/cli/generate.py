"""`bellhousing generate`: one prompt, streamed."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bellhousing.cli import connect
from bellhousing.cli.connect import Connection
from bellhousing.cli.output import Json, as_json, print_json, say
from bellhousing.client import Stream
from bellhousing.client.connection import DEFAULT_ADDRESS
from bellhousing.plugins import Plugins
from bellhousing.v1 import inference_pb2 as pb


def add(app: typer.Typer, _plugins: Plugins) -> None:
    """Add the command."""

    @app.command()
    def generate(
        prompt: Annotated[str, typer.Argument(help="What to continue; - reads standard input.")],
        address: connect.Address = DEFAULT_ADDRESS,
        model: connect.Model = "",
        max_tokens: Annotated[int | None, typer.Option(help="Most tokens to generate.")] = None,
        temperature: Annotated[float | None, typer.Option(help="0 is greedy.")] = None,
        top_p: Annotated[float | None, typer.Option(help="Nucleus mass to keep.")] = None,
        top_k: Annotated[int | None, typer.Option(help="Most probable tokens to keep; 0 is off.")] = None,
        min_p: Annotated[float | None, typer.Option(help="Least relative probability to keep.")] = None,
        seed: Annotated[int | None, typer.Option(help="Seed of the draws.")] = None,
        n: Annotated[int | None, typer.Option(help="Sequences to generate.")] = None,
        stop: Annotated[list[str] | None, typer.Option(help="Stop string; may be repeated.")] = None,
        ignore_eos: Annotated[bool | None, typer.Option("--ignore-eos", help="Go on past the end token.")] = None,
        logprobs: Annotated[int | None, typer.Option(help="Log probabilities with this many alternatives.")] = None,
        json_schema: Annotated[str | None, typer.Option(help="JSON Schema of the output, or @FILE.")] = None,
        json_object: Annotated[bool | None, typer.Option("--json-object", help="Any JSON object.")] = None,
        regex: Annotated[str | None, typer.Option(help="Regular expression the output matches.")] = None,
        grammar: Annotated[str | None, typer.Option(help="Grammar of the output, or @FILE.")] = None,
        choice: Annotated[list[str] | None, typer.Option(help="Allowed output; may be repeated.")] = None,
        adapter: Annotated[str | None, typer.Option(help="Adapter to apply.")] = None,
        priority: Annotated[str | None, typer.Option(help="low, normal or high.")] = None,
        timeout: Annotated[float | None, typer.Option(help="Deadline in seconds.")] = None,
        time_budget: Annotated[float | None, typer.Option(help="Seconds after which the output ends well.")] = None,
        best_effort: Annotated[
            bool, typer.Option("--best-effort", help="Ignore what the model cannot honour.")
        ] = False,
        token_ids: Annotated[
            bool, typer.Option("--token-ids", help="The prompt is token ids, separated by spaces.")
        ] = False,
        json_lines: Json = False,
        use_tls: connect.UseTls = False,
        ca: connect.Ca = None,
        certificate: connect.Certificate = None,
        key: connect.Key = None,
        token: connect.Token = "",
        tenant: connect.Tenant = "",
    ) -> None:
        """Continue a prompt: text on standard output as it comes, statistics on standard error.

        Examples:

          bellhousing generate "The capital of France is" --temperature 0 --max-tokens 8

          bellhousing generate "Pick one:" --choice yes --choice no --json
        """
        given: dict[str, Any] = {
            "model": model, "max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "top_k": top_k,
            "min_p": min_p, "seed": seed, "n": n, "stop": stop, "ignore_eos": ignore_eos, "logprobs": logprobs,
            "json_schema": _text_or_file(json_schema), "json_object": json_object, "regex": regex,
            "grammar": _text_or_file(grammar), "choice": choice, "adapter": adapter, "priority": priority,
            "time_budget": time_budget, "best_effort": best_effort,
        }  # fmt: skip
        text = sys.stdin.read() if prompt == "-" else prompt
        wanted = [int(part) for part in text.split()] if token_ids else text
        connection = Connection(address, use_tls, ca, certificate, key, token, tenant)
        arguments = {name: value for name, value in given.items() if value is not None}
        with connection.client() as client, client.generate(wanted, timeout=timeout, **arguments) as stream:
            show(stream, json_lines=json_lines)


def show(stream: Stream, *, json_lines: bool) -> None:
    """Print a stream as it comes, and its statistics at the end."""
    told_start = False
    for delta in stream:
        if json_lines and not told_start and stream.started:
            print_json({"started": as_json(stream.started)})
            told_start = True
        if json_lines:
            print_json({"delta": as_json(delta)})
        else:
            sys.stdout.write(delta.text)
            sys.stdout.flush()
    if json_lines:
        print_json({"finished": as_json(stream.finished or pb.Finished())})
        return
    sys.stdout.write("\n")
    for ignored in stream.started.ignored if stream.started else ():
        say(f"ignored {ignored.field}: {ignored.reason}")
    say(statistics(stream))


def statistics(stream: Stream) -> str:
    """Return TTFT, tokens, tokens a second and how it ended, as one line."""
    if stream.finished is None:
        return "no end"
    usage = stream.finished.usage
    reasons = ", ".join(
        pb.FinishReason.Name(end.finish_reason).removeprefix("FINISH_REASON_").lower()
        for end in stream.finished.sequences
    )
    ttft = stream.ttft or 0.0
    seconds = stream.elapsed - ttft
    rate = (usage.completion_tokens - 1) / seconds if usage.completion_tokens > 1 and seconds > 0 else 0.0
    return (
        f"TTFT {ttft * 1000:.0f} ms, {usage.completion_tokens} tokens at {rate:.1f} tokens/s,"
        f" prompt {usage.prompt_tokens} tokens ({usage.cached_tokens} cached), ended by {reasons}"
    )


def _text_or_file(value: str | None) -> str | None:
    return Path(value[1:]).read_text() if value and value.startswith("@") else value

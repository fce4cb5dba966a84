"""`bellhousing tune`: which settings serve this model best on this machine."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from bellhousing import registry
from bellhousing.cli.output import FAILED, Json, print_json, print_table, say, stderr
from bellhousing.cli.progress import BarDisplay, Display, LineDisplay
from bellhousing.cli.serve import ModelFlags, configuration
from bellhousing.cli.spread import spread
from bellhousing.config import Config, ModelConfig
from bellhousing.errors import BellhousingError, ConfigurationError
from bellhousing.plugins import Plugins
from bellhousing.tuning.plot import check_plot, write_plot
from bellhousing.tuning.report import Limits, Point, as_json, frontier, recommended
from bellhousing.tuning.space import Settings, combinations, label, parsed, toml
from bellhousing.tuning.trial import Plan, measure
from bellhousing.tuning.workload import Workload

COLUMNS = (
    "", "settings", "streams", "tokens/s", "TTFT p50/p95 ms", "inter-token p50/p95 ms", "KV use", "failed", "bound by",
)  # fmt: skip
MEANINGS = {
    "kv": "the KV cache was full: give it more memory, or fewer sequences",
    "queue": "requests waited for a place in the batch: more sequences may give more",
    "compute": "more streams gave no higher rate: the device is busy",
    "streams": "the rate still grew: try more streams",
}


@dataclass(frozen=True, slots=True)
class Load:
    """The load, as flags."""

    streams: Annotated[str, Option(help="Numbers of concurrent streams to measure at.", metavar="N,N")] = "1,4,16"
    prompt_tokens: Annotated[int, Option(help="Tokens of each prompt, about.", min=1)] = 128
    output_tokens: Annotated[int, Option(help="Tokens of each output.", min=2)] = 64
    requests: Annotated[int, Option(help="Requests of each stream in a run.", min=1)] = 2
    repeats: Annotated[int, Option(help="Runs at each number of streams.", min=1)] = 3
    load_seconds: Annotated[float, Option(help="Most seconds that an engine may take to load.", min=1)] = 600.0

    def plan(self) -> Plan:
        """Return the plan. Raises `ConfigurationError` for numbers that are none."""
        try:
            streams = sorted({int(part) for part in self.streams.split(",")})
        except ValueError:
            streams = [0]
        if streams[0] < 1:
            raise ConfigurationError(f"--streams: expected numbers such as 1,4,16, found {self.streams!r}")
        workload = Workload(self.prompt_tokens, self.output_tokens, self.requests)
        return Plan(workload, streams, self.repeats, self.load_seconds)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a recommendation must keep, as flags."""

    max_ttft_ms: Annotated[float | None, Option(help="Longest TTFT, 95th percentile, in ms.", min=0)] = None
    max_inter_token_ms: Annotated[
        float | None, Option(help="Longest inter-token latency, 95th percentile, in ms.", min=0)
    ] = None

    def limits(self) -> Limits:
        """Return them."""
        return Limits(self.max_ttft_ms, self.max_inter_token_ms)


def add(app: typer.Typer, _plugins: Plugins) -> None:
    """Add the command."""

    @app.command()
    @spread
    def tune(
        flags: ModelFlags,
        load: Load,
        wishes: Wishes,
        chosen: Annotated[str, typer.Argument(metavar="[MODEL]", help="A model of the configuration.")] = "",
        config: Annotated[Path | None, Option("--config", "-c", help="Configuration, as for serve.")] = None,
        tries: Annotated[
            list[str] | None,
            Option("--try", help="Values to try; instead of the backend's own.", metavar="PATH=VALUE,VALUE"),
        ] = None,
        plot: Annotated[Path | None, Option(help="Write a page with the frontier here.")] = None,
        json: Json = False,
    ) -> None:
        """Measure a model under several settings and recommend one.

        Each combination gets a server of its own, loaded by closed-loop streams of requests without common beginnings.
        A `*` marks the frontier: no other point has both a higher rate and a shorter inter-token latency. Recommended
        is the shortest inter-token latency among the points within 5 % of the highest rate that keeps the limits.

        Examples:

        `bellhousing tune --backend vllm --model ./model --streams 1,8,64 --plot tune.html`

        `bellhousing tune -c bellhousing.toml --try batching.max_sequences=4,8,16 --max-ttft-ms 500 --json`
        """
        plan, limits = load.plan(), wishes.limits()
        if plot:
            check_plot()
        model = _model(configuration(flags, config), chosen)
        candidates = combinations(parsed(tries or ()) or _space(model))
        say(f"{len(candidates)} candidates, {len(plan.streams) * plan.repeats} runs each")
        display = BarDisplay(stderr) if stderr.is_terminal else LineDisplay(say)
        points, refused = asyncio.run(_measure(model, candidates, plan, display))
        if plot and points:
            write_plot(plot, points, f"{model.name} on {model.backend}")
        if json:
            print_json({"model": model.name, "backend": model.backend, **as_json(points, limits, refused)})
        else:
            _print(points, limits)
        if recommended(points, limits) is None:
            raise typer.Exit(FAILED)


def _model(config: Config, wanted: str) -> ModelConfig:
    models = {model.name: model for model in config.models}
    if not wanted and len(models) == 1:
        return next(iter(models.values()))
    if wanted not in models:
        found = repr(wanted) if wanted else "none"
        raise ConfigurationError(f"MODEL: expected one of {', '.join(sorted(models))}, found {found}")
    return models[wanted]


def _space(model: ModelConfig) -> dict[str, list[Any]]:
    space = {path: list(values) for path, values in registry.load(model.backend).tunables().items()}
    if not space:
        raise ConfigurationError(
            f"backend {model.backend!r} names no settings to try: expected --try",
            hint="Such as `--try batching.max_sequences=1,4,16`.",
        )
    return space


async def _measure(
    model: ModelConfig, candidates: list[Settings], plan: Plan, display: Display
) -> tuple[list[Point], list[dict[str, Any]]]:
    """Return the points, and the candidates that did not start with the reason."""
    points: list[Point] = []
    refused: list[dict[str, Any]] = []
    for place, settings in enumerate(candidates, 1):
        name = f"{place} of {len(candidates)}, {label(settings)}"
        try:
            points += await measure(model, settings, plan, lambda step, name=name: display.update(name, step))  # type: ignore[misc]
        except BellhousingError as error:
            refused.append({"settings": dict(settings), "reason": error.reason, "message": error.message})
            say(f"{name}: {error.message}")
        finally:
            display.done(name)
    return points, refused


def _print(points: list[Point], limits: Limits) -> None:
    best, edge = recommended(points, limits), frontier(points)
    print_table(COLUMNS, [_row(point, is_on_edge=point in edge) for point in points])
    if best is None:
        say("nothing to recommend: no point keeps the limits without a failed request")
        return
    say(f"\nrecommended, at {best.streams} streams; bound by {best.constraint}: {MEANINGS[best.constraint]}")
    typer.echo(toml(best.settings))


def _row(point: Point, *, is_on_edge: bool) -> tuple[str, ...]:
    usage = "" if point.kv_cache_usage is None else f"{point.kv_cache_usage:.0%}"
    return (
        "*" if is_on_edge else "",
        label(point.settings),
        str(point.streams),
        f"{point.rate:.1f} ({point.rate_low:.1f} to {point.rate_high:.1f})",
        f"{point.ttft_p50:.0f} / {point.ttft_p95:.0f}",
        f"{point.gap_p50:.1f} / {point.gap_p95:.1f}",
        usage,
        str(point.failed or ""),
        point.constraint,
    )

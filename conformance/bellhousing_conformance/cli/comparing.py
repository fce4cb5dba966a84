"""`compare`."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text
from typer import Argument, Option

from bellhousing.cli.output import Json, fail, print_json, print_table, say, stderr, stdout
from bellhousing.cli.spread import spread
from bellhousing.errors import ConfigurationError, DeadlineExceeded, EngineUnavailable
from bellhousing_conformance.cli.interruption import run_until_interrupted
from bellhousing_conformance.cli.loading import lengths
from bellhousing_conformance.cli.requirements import check_requirements
from bellhousing_conformance.cli.running import pair
from bellhousing_conformance.compare.blocks import ARMS, BLOCKS
from bellhousing_conformance.compare.calibration import Calibration
from bellhousing_conformance.compare.comparison import Comparison, comparison_of
from bellhousing_conformance.compare.execution import Stopped, measure
from bellhousing_conformance.compare.settings import (
    Settings,
    is_begun,
    read_settings,
    require_new,
    require_same,
    settings_of,
)
from bellhousing_conformance.compare.writers import PAGE_FILE, write_forms
from bellhousing_conformance.load.clients import KINDS
from bellhousing_conformance.report.outcome import INFRASTRUCTURE

DEFAULT_FOLDER = Path("compare-report")
CLIENT_HELP = f"{', '.join(KINDS)}."


@dataclass(frozen=True, slots=True)
class SideA:
    """How the first side is reached or started, as flags."""

    model_a: Annotated[str | None, Option("--model-a", help="Name of A's model; of a backend what to load.")] = None
    option_a: Annotated[list[str] | None, Option("--option-a", help="Option of the backend A.", metavar="K=V")] = None
    python_a: Annotated[Path | None, Option("--python-a", help="Interpreter that has the backend A.")] = None
    max_sequences_a: Annotated[int | None, Option("--max-sequences-a", help="Requests that A runs at once.")] = None
    client_a: Annotated[str | None, Option("--client-a", help=CLIENT_HELP)] = None


@dataclass(frozen=True, slots=True)
class SideB:
    """The same of the second side."""

    model_b: Annotated[str | None, Option("--model-b", help="The same of B.")] = None
    option_b: Annotated[list[str] | None, Option("--option-b", help="The same of B.", metavar="K=V")] = None
    python_b: Annotated[Path | None, Option("--python-b", help="The same of B.")] = None
    max_sequences_b: Annotated[int | None, Option("--max-sequences-b", help="The same of B.")] = None
    client_b: Annotated[str | None, Option("--client-b", help="The same of B.")] = None


@dataclass(frozen=True, slots=True)
class How:
    """How to measure, as flags; what is not told has the default, or with --resume what it had."""

    pairs: Annotated[int | None, Option(help="Pairs of blocks; 20 unless told, 8 at least to decide.", min=1)] = None
    block: Annotated[float | None, Option(help="Seconds of a block; 15 unless told.", min=1)] = None
    rate: Annotated[float | None, Option(help="Requests a second of the open loop.")] = None
    share: Annotated[float | None, Option(help="Without --rate: of the slower side's capacity; 0.5 unless told.")] = (
        None
    )
    concurrency: Annotated[int | None, Option(help="Requests at once in the closed loop; 4 unless told.", min=1)] = None
    prompt_tokens: Annotated[str | None, Option(help="Tokens of a prompt; 64 unless told.", metavar="N[-M]")] = None
    output_tokens: Annotated[str | None, Option(help="Tokens of an output; 32 unless told.", metavar="N[-M]")] = None
    natural: Annotated[bool, Option("--natural", help="Outputs end where the models end them.")] = False
    tokens_per_word: Annotated[float | None, Option(help="Tokens of a letter and a space; 1 unless told.")] = None
    deadline: Annotated[float | None, Option(help="Seconds that a request may take; 60 unless told.")] = None
    seed: Annotated[int | None, Option(help="Seed of everything drawn; drawn itself unless told.", min=0)] = None

    def told(self) -> dict[str, Any]:
        """Return the keys of `Settings` that are told. Raises `ConfigurationError`."""
        keys = {
            "pairs": self.pairs,
            "block_seconds": self.block,
            "rate": self.rate,
            "share": self.share,
            "concurrency": self.concurrency,
            "prompt_tokens": self.prompt_tokens and lengths("--prompt-tokens", self.prompt_tokens).model_dump(),
            "output_tokens": self.output_tokens and lengths("--output-tokens", self.output_tokens).model_dump(),
            "natural": self.natural or None,
            "tokens_per_word": self.tokens_per_word,
            "deadline": self.deadline,
            "seed": self.seed,
        }
        return {key: value for key, value in keys.items() if value is not None}


def add(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("compare")
    @spread
    def compare(
        a: Annotated[str, Argument(help="HOST:PORT, a URL, a TOML file of a target, or a backend to start.")] = "",
        b: Annotated[str, Argument(help="The same.")] = "",
        *,
        side_a: SideA,
        side_b: SideB,
        how: How,
        output: Annotated[Path, Option(help="Folder of the comparison.")] = DEFAULT_FOLDER,
        resume: Annotated[Path | None, Option(help="Go on with the comparison of this folder.")] = None,
        json: Json = False,
    ) -> None:
        """Compare the speed of two targets in pairs of blocks, and tell what may be said of the ratio.

        Exit codes: 0 every metric is decided, which way ever; 2 the command, a file or a setting is wrong; 3 a target
        is not there, or the comparison was interrupted; 4 something is not decided.
        """
        check_requirements()
        told = {**how.told(), **_side("a", a, side_a), **_side("b", b, side_b)}
        folder = output if resume is None else resume
        settings = _begun(told, folder) if resume is None else _resumed(told, folder)
        _measure(settings, folder)
        comparison = comparison_of(folder)
        write_forms(comparison, folder)
        if json:
            print_json(comparison.model_dump(mode="json"))
        else:
            tell(comparison, folder)
        raise typer.Exit(comparison.exit_code)


def _side(arm: str, name: str, flags: SideA | SideB) -> dict[str, Any]:
    """Return the keys of a side that are told; none at all where nothing is."""
    model, options, python, sequences, client = (
        getattr(flags, f"{key}_{arm}") for key in ("model", "option", "python", "max_sequences", "client")
    )
    told: dict[str, Any] = {
        "model": model,
        "options": dict(map(pair, options)) if options else None,
        "python": python,
        "max_sequences": sequences,
        "client": client,
    }
    found = {key: value for key, value in told.items() if value is not None}
    if not name:
        if found:
            raise ConfigurationError(f"{arm.upper()}: expected what {', '.join(found)} belongs to, found nothing")
        return {}
    return {arm: {**_way(name), **found}}


def _way(name: str) -> dict[str, Any]:
    if name.endswith(".toml"):
        return {"config": name}
    return {"address": name} if ":" in name else {"start": name}


def _begun(told: Mapping[str, Any], folder: Path) -> Settings:
    missing = [arm.upper() for arm in ("a", "b") if arm not in told]
    if missing:
        raise ConfigurationError(f"expected A and B, or --resume; found no {' and '.join(missing)}")
    settings = settings_of({"seed": secrets.randbelow(2**31), **told})
    if settings.rate:
        settings.check_rate(settings.rate)
    require_new(folder)
    return settings


def _resumed(told: Mapping[str, Any], folder: Path) -> Settings:
    settings = read_settings(folder)
    require_same(settings, told, folder)
    return settings


def _measure(settings: Settings, folder: Path) -> None:
    """Measure what is missing. Raises `typer.Exit` where that could not be done, and says how to go on."""
    try:
        run_until_interrupted(_measured(settings, folder))
    except (EngineUnavailable, DeadlineExceeded) as error:
        fail(error)
        raise typer.Exit(INFRASTRUCTURE) from error
    except Stopped as error:
        stderr.print(Text(f"error: {error}"), soft_wrap=True)
        raise _interrupted(folder) from error
    except typer.Exit as ended:
        raise _interrupted(folder) from ended


def _interrupted(folder: Path) -> typer.Exit:
    if not is_begun(folder):
        say("the comparison was not begun: nothing of it is kept")
        return typer.Exit(INFRASTRUCTURE)
    done = len(list((folder / BLOCKS).glob("*[!t]"))) if (folder / BLOCKS).is_dir() else 0
    say(f"{done} blocks are kept; go on with: bellhousing conformance compare --resume {folder}")
    return typer.Exit(INFRASTRUCTURE)


async def _measured(settings: Settings, folder: Path) -> None:
    blocks = f"{settings.pairs} pairs of {len(ARMS)} blocks of {settings.block_seconds:g} s"
    say(f"{blocks}: about {duration(settings.seconds)}, and the time to start and warm up; seed {settings.seed}")
    with CompareDisplay(settings) as display:
        await measure(settings, folder, display)


class CompareDisplay:
    """A line for each pair and, in a terminal, a bar below them with the time left."""

    def __init__(self, settings: Settings) -> None:
        self._pairs = settings.pairs
        columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn(elapsed_when_finished=True))
        self._bar = Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
        self._task = self._bar.add_task("", total=settings.pairs * len(ARMS))
        self._rejected = 0
        self._done = self._measured = 0
        self._began = time.monotonic()

    def __enter__(self) -> "CompareDisplay":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def told(self, text: str) -> None:
        """See `execution.Display`."""
        say(text)

    def calibrated(self, calibration: Calibration, done: int) -> None:
        """See `execution.Display`."""
        say(f"open loop: {calibration.rate:g} requests/s" + (f"; {done} pairs are there already" if done else ""))
        self._done, self._began = done, time.monotonic()
        self._bar.update(self._task, completed=done * len(ARMS))

    def block(self, pair: int, place: int) -> None:
        """See `execution.Display`."""
        told = f"pair {pair + 1} of {self._pairs}, block {place + 1} of {len(ARMS)}; {self._rejected} pairs rejected"
        self._bar.update(self._task, completed=self._done * len(ARMS) + place, description=told)

    def pair(self, done: int, rejections: list[str]) -> None:
        """See `execution.Display`."""
        self._measured += 1
        self._rejected += bool(rejections)
        self._done += not rejections
        each = (time.monotonic() - self._began) / self._measured
        left = f"about {duration(each * (self._pairs - self._done))} left"
        if rejections:
            say(f"pair {done} of {self._pairs} is measured again: {rejections[0]}; {left}")
        else:
            say(f"pair {done} of {self._pairs}; {left}")


def tell(comparison: Comparison, folder: Path) -> None:
    """Print a comparison."""
    for arm, subject in comparison.subjects.items():
        name = getattr(comparison.settings, arm).name
        told = f"{arm.upper()}: {name} {subject.engine} {subject.engine_version} {subject.precision}"
        stdout.print(Text(" ".join(told.split())), soft_wrap=True)
    stdout.print(Text(comparison.precision), soft_wrap=True)
    rows = [(each.word, each.text, each.reason) for each in comparison.metrics]
    print_table(("A IS", "RATIO OF GEOMETRIC MEANS [95 %]", ""), rows)
    for caution in (*comparison.reasons, *comparison.cautions):
        stdout.print(Text(f"  {caution}"), soft_wrap=True)
    stdout.print(f"report: {folder / PAGE_FILE}", highlight=False, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Return a time as people read it."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"

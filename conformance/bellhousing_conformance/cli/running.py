"""`run`, `list` and `explain`."""

import json
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text
from typer import Option

from bellhousing.cli.output import Json, fail, print_json, print_table, stderr, stdout
from bellhousing.cli.spread import spread
from bellhousing.errors import ConfigurationError, DeadlineExceeded
from bellhousing_conformance.against import RecordedOther
from bellhousing_conformance.calls import Address, tls_of
from bellhousing_conformance.check import Check, clause_file
from bellhousing_conformance.cli.colours import COLOURS
from bellhousing_conformance.cli.interruption import run_until_interrupted
from bellhousing_conformance.cli.measuring import Measures
from bellhousing_conformance.cli.progress import RunDisplay
from bellhousing_conformance.cli.requirements import check_requirements
from bellhousing_conformance.cli.selection import find, selected, tier_of
from bellhousing_conformance.issues import load_issues
from bellhousing_conformance.oracles.reference import open_reference
from bellhousing_conformance.report.folder import make_folder
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.report.outcome import INFRASTRUCTURE
from bellhousing_conformance.report.reading import cell, counted, standing, word
from bellhousing_conformance.report.writers import read_report, write_report
from bellhousing_conformance.runner import Plan, command, run
from bellhousing_conformance.targets.hooks import Hooks, metrics_hook
from bellhousing_conformance.targets.started import started
from bellhousing_conformance.targets.target import SILENCE_SECONDS, Target, load_target
from bellhousing_conformance.task import read_items

DEFAULT_FOLDER = Path("conformance-report")
TOKEN = "BELLHOUSING_TOKEN"  # noqa: S105 - the name of a variable
WAYS: Mapping[str, tuple[str, ...]] = {
    "target": ("model", "metrics", "token", "ca", "cert", "key", "silence"),
    "config": (),
    "start": ("model", "option", "python", "tensor_parallel", "max_sequences", "silence"),
}
"""How a target is named, and the flags that go with it: any other would have no effect."""


@dataclass(frozen=True, slots=True)
class Where:
    """What to measure or judge, as flags: exactly one of --target, --config and --start."""

    target: Annotated[str, Option(help="Address of the server.", metavar="HOST:PORT")] = ""
    config: Annotated[Path | None, Option(help="A TOML file with the address and hooks.")] = None
    start: Annotated[str, Option(help="Start a server of this backend.", metavar="BACKEND")] = ""
    model: Annotated[str, Option("--model", "-m", help="Name of the model; with --start what to load.")] = ""
    option: Annotated[list[str] | None, Option("--option", "-o", help="Option of the backend.", metavar="K=V")] = None
    python: Annotated[Path | None, Option(help="With --start: interpreter with the backend.", metavar="FILE")] = None
    tensor_parallel: Annotated[int, Option(help="With --start: devices that share each layer.", min=1)] = 1
    max_sequences: Annotated[
        int, Option(help="With --start: requests that run at once; 0 is the backend's.", min=0)
    ] = 0
    metrics: Annotated[str, Option(help="With --target: what Prometheus scrapes.", metavar="URL")] = ""
    token: Annotated[str, Option(help="Bearer token.", envvar=TOKEN)] = ""
    ca: Annotated[Path | None, Option(help="Authorities of the server's certificate, PEM; turns on TLS.")] = None
    cert: Annotated[Path | None, Option(help="Client certificate for mTLS, PEM.")] = None
    key: Annotated[Path | None, Option(help="Key of the client certificate, PEM.")] = None

    @asynccontextmanager
    async def reached(self, silence: float | None = None) -> AsyncIterator[Target]:
        """Yield the target; one that was started ends with the body. Raises `ConfigurationError`."""
        self._check()
        if self.start:
            model = {
                "backend": self.start,
                "model": self.model,
                "parallelism": {"tensor": self.tensor_parallel},
                "batching": {"max_sequences": self.max_sequences} if self.max_sequences else {},
                "options": dict(map(pair, self.option or ())),
            }
            async with started([model], python=self.python) as target:
                yield replace(target, silence=silence or target.silence)
        elif self.config:
            yield load_target(self.config)
        else:
            tls = tls_of(self.ca, self.cert, self.key)
            hooks = Hooks({"metrics": metrics_hook(self.metrics)} if self.metrics else {})
            where = Address(self.target, tls, self.token)
            yield Target(where, self.model, hooks, silence=silence or SILENCE_SECONDS)

    def _check(self) -> None:
        given = [name for name in WAYS if getattr(self, name)]
        if len(given) != 1:
            raise ConfigurationError(f"expected exactly one of --target, --config and --start, found {given or 'none'}")
        strangers = [name for name in self._told() if name not in WAYS[given[0]]]
        if strangers:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in strangers)
            hint = ": the file says it" if given[0] == "config" else ""
            raise ConfigurationError(f"--{given[0]} goes without {flags}{hint}")

    def _told(self) -> list[str]:
        """Return the flags that were told beside the way; a token of the environment is there for other commands."""
        told = [each.name for each in fields(self) if getattr(self, each.name) not in (each.default, [])]
        is_of_the_environment = self.token == os.environ.get(TOKEN)
        return [name for name in told if name not in WAYS and not (name == "token" and is_of_the_environment)]


@dataclass(frozen=True, slots=True)
class Whom(Where):
    """What to judge, as flags."""

    silence: Annotated[
        float | None, Option(help=f"Longest silence of a call, in seconds; {SILENCE_SECONDS:g} unless told.", min=0.1)
    ] = None

    def flags(self) -> list[str]:
        """Return the flags that name the same target again, without the token."""
        named = {
            "--target": self.target, "--config": self.config, "--start": self.start, "--model": self.model,
            "--python": self.python, "--ca": self.ca, "--cert": self.cert, "--key": self.key, "--silence": self.silence,
            "--max-sequences": self.max_sequences, "--metrics": self.metrics,
            "--tensor-parallel": self.tensor_parallel if self.tensor_parallel > 1 else None,
        }  # fmt: skip
        pairs = [f"{name}={value}" for name, value in named.items() if value]
        return [*pairs, *(f"--option={value}" for value in self.option or ())]


@dataclass(frozen=True, slots=True)
class What:
    """What to run, as flags."""

    profile: Annotated[str, Option(help="Profiles, separated by commas; all unless told.")] = ""
    check: Annotated[list[str] | None, Option(help="Just this check; may be repeated.", metavar="ID")] = None
    skip: Annotated[list[str] | None, Option(help="Not this check: its profile is PARTIAL.", metavar="ID")] = None
    tier: Annotated[str, Option(help="smoke, standard or full.")] = "smoke"
    seed: Annotated[int | None, Option(help="Seed of prompts and draws; drawn unless told.", min=0)] = None
    known_issues: Annotated[Path | None, Option(help="TOML of failures that are known, each with an issue.")] = None
    against: Annotated[str, Option(help="Another target, or a report of the same seed.", metavar="HOST:PORT|PATH")] = ""
    record: Annotated[bool, Option("--record", help="Keep the samples of EQUIVALENCE for a later --against.")] = False
    reference: Annotated[Path | None, Option(help="Directory with the target's weights, run in float32.")] = None
    task_file: Annotated[Path | None, Option(help="JSONL of prompts and answers for Q04.")] = None
    keep_going: Annotated[bool, Option("--keep-going", help="Go on after a smoke check has failed.")] = False

    def plan(self, whom: Whom, measures: Measures) -> Plan:
        """Return the plan. Raises `ConfigurationError`."""
        tier = tier_of(self.tier)
        other = _other(self.against)
        drawn = other.report.seed if isinstance(other, RecordedOther) else secrets.randbelow(2**31)
        seed = drawn if self.seed is None else self.seed
        if isinstance(other, RecordedOther):
            other.require(seed, tier)
        if self.task_file:
            read_items(self.task_file)  # a mistake in it should show before the run
        return Plan(
            checks=selected(tier, self.profile, self.check or ()),
            tier=tier,
            seed=seed,
            skipped={find(name).id: "left out with --skip" for name in self.skip or ()},
            issues=load_issues(self.known_issues) if self.known_issues else {},
            keep_going=self.keep_going,
            against=other,
            record=self.record,
            task_file=self.task_file,
            reference=open_reference(self.reference) if self.reference else None,
            bench=measures.bench(whom.model),
            reproduce=command([*whom.flags(), *self.flags(), *measures.flags()], tier, seed),
        )

    def flags(self) -> list[str]:
        """Return the flags that ask the same of a single check again, beside tier and seed."""
        named = {
            "--known-issues": self.known_issues, "--against": self.against, "--reference": self.reference,
            "--task-file": self.task_file,
        }  # fmt: skip
        pairs = [f"{name}={value}" for name, value in named.items() if value]
        return [*pairs, "--record"] if self.record else pairs


def add(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command("run")
    @spread
    def run_command(
        whom: Whom,
        what: What,
        measures: Measures,
        output: Annotated[Path, Option(help="Folder of the report; replaces an earlier one.")] = DEFAULT_FOLDER,
    ) -> None:
        """Judge a server and write the report.

        Exit codes: 0 everything passed; 1 a check failed; 2 the command is wrong; 3 the suite could not judge, or was
        interrupted; 4 some checks could not decide.
        """
        check_requirements()
        try:
            report = run_until_interrupted(_run(whom, what, measures, output))
        except DeadlineExceeded as error:  # the server of --start did not come up: nothing was judged
            fail(error)
            raise typer.Exit(INFRASTRUCTURE) from error
        write_report(report, output)
        _tell(report, output)
        raise typer.Exit(report.exit_code)

    @app.command("list")
    def list_command(
        profile: Annotated[str, Option(help="Profiles, separated by commas.")] = "", json: Json = False
    ) -> None:
        """List every check with the clause of the contract that it judges."""
        checks = selected("full", profile, ())
        if json:
            print_json([_described(check) for check in checks])
        else:
            rows = [(c.id, c.profile, c.requirement, c.tier, c.title, c.clause) for c in checks]
            print_table(("ID", "PROFILE", "", "TIER", "CHECK", "CLAUSE"), rows)

    @app.command("explain")
    def explain(check_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
        """Tell what a check judges, how, and what it can find."""
        for name, value in _described(find(check_id)).items():
            stdout.print(f"{name:<12} {value}", highlight=False, markup=False, soft_wrap=True)


async def _run(whom: Whom, what: What, measures: Measures, output: Path) -> ConformanceReport:
    plan = what.plan(whom, measures)
    make_folder(output)
    async with whom.reached(whom.silence) as target:
        with RunDisplay(stderr, plan.checks) as display:
            return await run(target, plan, output, display)


def _tell(report: ConformanceReport, output: Path) -> None:
    if report.failure:
        stderr.print(f"error: {report.failure}", highlight=False, markup=False, soft_wrap=True)
    for profile in report.profiles:
        found = cell(report, profile.name)
        line = Text.assemble((f"{word(found.verdict):<14}", COLOURS[found.tone]), f"{profile.name:<16} ")
        stdout.print(line.append(counted(profile.counts)), highlight=False)
    held = standing(report)
    stdout.print(Text(held.word, COLOURS[held.tone]))
    for reason in held.reasons:
        stdout.print(Text(f"  {reason}"), highlight=False, soft_wrap=True)
    stdout.print(f"report: {output / 'report.html'}", highlight=False, markup=False, soft_wrap=True)


def _described(check: Check) -> dict[str, Any]:
    return {
        "id": check.id,
        "title": check.title,
        "profile": check.profile,
        "requirement": check.requirement,
        "tier": check.tier,
        "clause": f"{clause_file(check.clause)}: {check.clause}",
        "needs": ", ".join(check.needs) or "nothing",
        "hooks": ", ".join(check.hooks) or "none",
        "statistic": check.statistic,
        "finds": check.finds,
        "how": " ".join((check.observe.__doc__ or "").split()),
    }


def _other(name: str) -> Target | RecordedOther | None:
    """Return the other side: a report where the name is a path that exists, else an address."""
    if not name:
        return None
    if Path(name).exists():
        report, folder = read_report(Path(name))
        return RecordedOther(report, folder)
    return Target(Address(name))


def pair(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise ConfigurationError(f"--option {text!r}: expected KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value

"""A search for the goodput as a document: what was asked, each load, and what follows from them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.goodput import Limits, Try, bracket, decided, following, is_undecided
from bellhousing_conformance.load.document import differences, read_document
from bellhousing_conformance.load.workload import Workload
from bellhousing_conformance.loads import load_in
from bellhousing_conformance.slo import Slo, judged_floor
from bellhousing_conformance.verdict import Figure, Frozen, Status

SEARCH_FILE, SEARCH_PAGE = "goodput.json", "goodput.html"
NOT_FINISHED = "the search is not finished"


class Asked(Frozen):
    """What a search was asked: another question is another search, which cannot go on with these loads.

    `target` is the address, the file or the backend that was started, and `started` how. `deadline` and `seconds` are
    in seconds, `start` in requests/s.
    """

    target: str
    started: dict[str, str]
    model: str
    client: str
    deadline: float
    workload: Workload
    slo: Slo
    seed: int
    start: float
    seconds: float
    limits: Limits


class Goodput(Frozen):
    """A search. `status` is MEASURED where no least goodput is declared; `tries` are all loads, in order.

    `floors` has for each load the medians of a server that does nothing, in seconds by metric, where there is one.
    """

    schema_version: Literal["bellhousing.goodput/1"] = "bellhousing.goodput/1"
    asked: Asked
    status: Status
    goodput: Figure
    tries: tuple[Try, ...]
    floors: tuple[dict[str, float] | None, ...]
    problems: tuple[str, ...] = ()


def goodput_of(asked: Asked, tries: Sequence[Try], floors: Sequence[dict[str, float] | None]) -> Goodput:
    """Return what loads come to; of a search that has not ended that nothing is decided."""
    figure = bracket(tries).figure
    status, problems = Status.MEASURED, tuple[str, ...]()
    if following(tries, asked.limits) is not None:
        status, problems = Status.INCONCLUSIVE, (NOT_FINISHED,)
    elif is_undecided(tries):
        status, problems = Status.INCONCLUSIVE, tries[-1].reasons if tries else ()
    elif asked.slo.goodput is not None:
        judged = judged_floor("goodput", figure, asked.slo.goodput)
        status, problems = judged.status, judged.problems
    return Goodput(
        asked=asked, status=status, goodput=figure, tries=tuple(tries), floors=tuple(floors[: len(tries)]),
        problems=problems,
    )  # fmt: skip


def load_folder(folder: Path, number: int) -> Path:
    """Return where a search has the raw rows of a load."""
    return folder / f"load-{number:02}"


def read_goodput(folder: Path) -> Goodput:
    """Return the search of a folder. Raises `ConfigurationError`."""
    return read_document(Goodput, folder / SEARCH_FILE, "goodput")


def disagreements(folder: Path) -> list[str]:
    """Return where a folder's search is not what follows from the rows of its loads: a sentence each."""
    told = read_goodput(folder)
    if len(told.floors) != len(told.tries):
        return [f"floors: expected {len(told.tries)}, one of each load, found {len(told.floors)}"]
    tries: list[Try] = []
    found: list[str] = []
    for number, each in enumerate(told.tries):
        load = load_in(load_folder(folder, number), told.floors[number], f"load {number}")
        info, rate = load.run.info, following(tries, told.asked.limits)
        sent = {"rate": (rate, info.arrivals.rate), "seed": (told.asked.seed + number, info.seed)}
        sent["deadline"] = (told.asked.deadline, info.deadline_seconds)
        found += [f"load {number}: {name}: expected {a}, found {b}" for name, (a, b) in sent.items() if a != b]
        again = decided(load, info.arrivals.rate, told.asked.slo)
        found += [f"load {number}: {fault}" for fault in differences(each, again)]
        tries.append(again)
    return found + differences(told, goodput_of(told.asked, tries, told.floors))


def require_same(kept: Asked, asked: Asked, folder: Path) -> None:
    """Raise `ConfigurationError` naming each key in which a search that is gone on with was asked something else."""
    before, now = (dict(_flat(json.loads(each.model_dump_json()))) for each in (kept, asked))
    other = [
        f"{key}: expected {before.get(key, 'none')}, found {now.get(key, 'none')}"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    ]
    if other:
        raise ConfigurationError(f"--resume {folder}: the search was begun otherwise: {'; '.join(other)}")


def _flat(told: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in told.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value)

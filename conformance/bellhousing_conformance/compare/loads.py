"""What is sent in a block: the same times and lengths to every arm, in texts that no arm has seen."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from string import ascii_lowercase

from bellhousing_conformance.compare.settings import Settings
from bellhousing_conformance.load.clients.client import Endpoint
from bellhousing_conformance.load.job import Job, closed_job, open_job
from bellhousing_conformance.load.record import Arrivals
from bellhousing_conformance.load.schedule import Stage, drawn
from bellhousing_conformance.load.workload import Planned, plan_of, plan_of_closed

MOST_CLOSED_REQUESTS = 2000
"""Of a closed loop, which ends earlier where a target answers them all before."""


def open_load(settings: Settings, endpoint: Endpoint, rate: float, seed: int, arm: str) -> Job:
    """Return the open loop of a block: a warm-up that is not measured, then what is."""
    measured = settings.open_seconds - settings.warm_up_seconds
    stages = [
        Stage("warm-up", rate, settings.warm_up_seconds, is_measured=False),
        Stage("measured", rate, measured),
    ]
    schedule = drawn(Arrivals("poisson", rate), stages, seed)
    plan = plan_of(schedule, settings.workload, seed)
    return open_job(endpoint, schedule, enciphered(plan, f"open/{seed}/{arm}"), seed)


def closed_load(settings: Settings, endpoint: Endpoint, seconds: float, seed: int, arm: str) -> Job:
    """Return a closed loop."""
    plan = plan_of_closed(MOST_CLOSED_REQUESTS, settings.workload, seed, "capacity")
    return closed_job(endpoint, settings.concurrency, seconds, enciphered(plan, f"closed/{seed}/{arm}"), seed)


def enciphered(plan: Sequence[Planned], key: str) -> list[Planned]:
    """Return requests with the letters of their prompts exchanged, by a key that each arm has its own of.

    Two arms may be one server: a cache of prefixes would know the texts of the other. Lengths, and which prompts begin
    alike, stay as they are.
    """
    letters = list(ascii_lowercase)
    Random(f"cipher/{key}").shuffle(letters)
    table = str.maketrans(ascii_lowercase, "".join(letters))
    return [replace(each, prompt=each.prompt.translate(table)) for each in plan]

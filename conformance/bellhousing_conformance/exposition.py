"""A target's metrics in Prometheus' text format: what a scrape found, and how two differ.

The parser is that of prometheus_client; it is imported where it is used, as scipy is.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bellhousing_conformance.probe import Probe
from bellhousing_conformance.targets.hooks import HookFailed

SETTLE_SECONDS = {"smoke": 2.5, "standard": 10.0, "full": 10.0}
"""Longer than the second for which a server may answer scrapes from one look."""

POLL_SECONDS = 0.1

OURS = "bellhousing_"
QUEUED = ("bellhousing_model_requests_waiting", "vllm:num_requests_waiting", "sglang:num_queue_reqs")
RUNNING = ("bellhousing_model_requests_running", "vllm:num_requests_running", "sglang:num_running_reqs")
KV_USE = ("bellhousing_kv_cache_usage_ratio", "vllm:kv_cache_usage_perc", "sglang:token_usage")
"""Names of the gauges that the model server protocol of the Gateway API inference extension asks for, by server."""

HISTOGRAMS = {
    "gen_ai.server.request.duration": "request_duration_seconds",
    "gen_ai.server.time_to_first_token": "time_to_first_token_seconds",
    "gen_ai.server.time_per_output_token": "time_per_output_token_seconds",
}
"""OpenTelemetry's metrics of a GenAI server, and what Prometheus calls them after `gen_ai_server_` or our prefix."""


class Unscrapable(HookFailed):
    """What the target tells is not in Prometheus' format."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A value with its labels."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Scrape:
    """The samples of one scrape."""

    samples: Sequence[Sample]

    def has(self, name: str) -> bool:
        """Tell whether there is any sample of a name."""
        return any(sample.name == name for sample in self.samples)

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a name that have these labels; 0 without one."""
        return math.fsum(s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items())

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the sums of a name by the value of a label."""
        found: dict[str, float] = {}
        for sample in self.samples:
            if sample.name == name:
                key = sample.labels.get(label, "")
                found[key] = found.get(key, 0.0) + sample.value
        return found

    def first(self, names: Sequence[str]) -> str:
        """Return the first of some names that there is; empty for none."""
        return next((name for name in names if self.has(name)), "")


async def scrape(probe: Probe) -> Scrape:
    """Return what the target's metrics say now. Raises `HookFailed`, and `Unscrapable` for what is no such text."""
    return parsed(await probe.hooks.call("metrics"))


def parsed(text: str) -> Scrape:
    """Return the samples of a text. Raises `Unscrapable`."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        families = list(text_string_to_metric_families(text))
    except ValueError as error:
        raise Unscrapable(f"metrics: expected Prometheus' text format, found {str(error)[:200]!r}") from error
    return Scrape([Sample(s.name, dict(s.labels), float(s.value)) for family in families for s in family.samples])


async def settled(
    probe: Probe, is_settled: Callable[[Scrape], bool], seconds: float | None = None
) -> tuple[Scrape, bool]:
    """Return the metrics once they are as wanted, or as they are after `seconds`, the tier's unless told; and which."""
    loop = asyncio.get_running_loop()
    end = loop.time() + (SETTLE_SECONDS[probe.tier] if seconds is None else seconds)
    while True:
        found = await scrape(probe)
        if is_settled(found):
            return found, True
        if loop.time() >= end:
            return found, False
        await asyncio.sleep(POLL_SECONDS)


def grown(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, int]:
    """Return by how much each value has grown; what has not is left out."""
    found = {key: round(value - before.get(key, 0.0)) for key, value in after.items()}
    return {key: value for key, value in sorted(found.items()) if value}

"""What a scrape of the metrics found."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


@dataclass(frozen=True)
class Scrape:
    """The samples of one scrape."""

    samples: tuple[Sample, ...]

    def matching(self, name: str, **labels: str) -> Iterator[Sample]:
        """Yield the samples of a name that have these labels among theirs."""
        for sample in self.samples:
            if sample.name == f"bellhousing_{name}" and labels.items() <= sample.labels.items():
                yield sample

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples; 0 without one."""
        return sum(sample.value for sample in self.matching(name, **labels))

    def values(self, name: str, *by: str) -> dict[tuple[str, ...], float]:
        """Return the sums that are not 0, by these labels."""
        sums: dict[tuple[str, ...], float] = {}
        for sample in self.matching(name):
            key = tuple(sample.labels[label] for label in by)
            sums[key] = sums.get(key, 0) + sample.value
        return {key: value for key, value in sums.items() if value}

    def has(self, name: str) -> bool:
        """Tell whether there is any sample of the name."""
        return any(self.matching(name))


async def scrape(url: str) -> Scrape:
    """Return what Prometheus would read."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(url)
    answer.raise_for_status()
    families = text_string_to_metric_families(answer.text)
    return Scrape(tuple(sample for family in families for sample in family.samples))

"""The engine's load as the router's metrics tell it."""

from prometheus_client.parser import text_string_to_metric_families

from bellhousing.backend import EngineLoad

RUNNING = "tgi_batch_current_size"
WAITING = "tgi_queue_size"


def load_of(text: str) -> EngineLoad:
    """Return the figures; None for what the router has not told so far: a series appears at its first use."""
    lines = (line for line in text.splitlines() if line.startswith((f"{RUNNING} ", f"{WAITING} ")))
    found = {
        family.name: int(sample.value)
        for family in text_string_to_metric_families("\n".join(lines) + "\n")
        for sample in family.samples
    }
    return EngineLoad(running=found.get(RUNNING), waiting=found.get(WAITING))

"""The engine's load as the server's metrics tell it."""

from prometheus_client.parser import text_string_to_metric_families

from bellhousing.backend import EngineLoad

PREFIX = "vllm:"


def load_of(text: str) -> EngineLoad:
    """Return the figures of all engines of the server together; None for what its version does not tell."""
    sums: dict[str, float] = {}
    most: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        if not family.name.startswith(PREFIX):
            continue
        for sample in family.samples:
            name = sample.name.removeprefix(PREFIX).removesuffix("_total")
            sums[name] = sums.get(name, 0.0) + sample.value
            most[name] = max(most.get(name, 0.0), sample.value)
    drafted = sums.get("spec_decode_num_draft_tokens")
    return EngineLoad(
        running=_whole(sums.get("num_requests_running")),
        waiting=_whole(sums.get("num_requests_waiting")),
        kv_cache_usage=most.get("kv_cache_usage_perc"),
        prefix_cache_queries=_whole(sums.get("prefix_cache_queries")),
        prefix_cache_hits=_whole(sums.get("prefix_cache_hits")),
        speculative_acceptance=sums.get("spec_decode_num_accepted_tokens", 0.0) / drafted if drafted else None,
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)

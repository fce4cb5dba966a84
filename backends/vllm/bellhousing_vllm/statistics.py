"""What vLLM's scheduler tells of itself after each step."""

from typing import Any

from bellhousing.backend import EngineLoad


class Statistics:
    """The last figures of each data-parallel engine, and sums since the start."""

    def __init__(self) -> None:
        self._running: dict[int, int] = {}
        self._waiting: dict[int, int] = {}
        self._kv_usage: dict[int, float] = {}
        self._queries = self._hits = self._drafted = self._accepted = 0

    def record(self, found: Any, engine: int) -> None:
        """Take the `SchedulerStats` of a step; a name that a version of vLLM lacks counts as not told."""
        self._running[engine] = getattr(found, "num_running_reqs", 0)
        self._waiting[engine] = getattr(found, "num_waiting_reqs", 0) + getattr(found, "num_skipped_waiting_reqs", 0)
        self._kv_usage[engine] = getattr(found, "kv_cache_usage", 0.0)
        prefix = getattr(found, "prefix_cache_stats", None)
        if prefix is not None:
            self._queries += prefix.queries
            self._hits += prefix.hits
        drafts = getattr(found, "spec_decoding_stats", None)
        if drafts is not None:
            self._drafted += drafts.num_draft_tokens
            self._accepted += drafts.num_accepted_tokens

    def load(self) -> EngineLoad:
        """Return the figures of all engines together; the KV cache is the fullest one's."""
        return EngineLoad(
            running=sum(self._running.values()),
            waiting=sum(self._waiting.values()),
            kv_cache_usage=max(self._kv_usage.values(), default=0.0),
            prefix_cache_queries=self._queries,
            prefix_cache_hits=self._hits,
            speculative_acceptance=self._accepted / self._drafted if self._drafted else None,
        )

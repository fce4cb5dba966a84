"""Options of the simulator: the model, its latency and its faults. Times are in seconds."""

from typing import Literal

from pydantic import Field

from bellhousing.settings import Strict

FaultKind = Literal[
    "error",
    "unavailable",
    "unexpected_exception",
    "end_without_finished",
    "extra_after_finished",
    "two_started",
    "invalid_utf8",
    "wrong_count",
    "hang",
    "die",
    "crash",
]
"""What goes wrong; the README tells what each does."""


class Fault(Strict):
    """Something that goes wrong in some requests. Of several that match a request the first counts."""

    kind: FaultKind = Field(description="What goes wrong.")
    after_tokens: int = Field(0, ge=0, description="Tokens of the request, over all its sequences, before it does.")
    match: str = Field("", description="Only in requests whose prompt contains this text; empty for every request.")


class SimulatorOptions(Strict):
    """Everything that the simulator can be told. Without latency it is as fast as it can be."""

    weights_seed: int = Field(0, description="Chooses the model: another seed, other probabilities.")
    end_probability: float = Field(
        0.01, ge=0, lt=1, description="Probability of the end token at each step, at temperature 1 without filters."
    )
    context_length: int = Field(4096, ge=2, description="Most tokens of prompt and output of one sequence.")
    max_running: int = Field(
        256, ge=1, description="Requests that it claims to take at once, where batching.max_sequences is unset."
    )
    load_seconds: float = Field(0.0, ge=0, description="Time that loading the model takes.")
    prefill_seconds_per_token: float = Field(0.0, ge=0, description="Time in prefill for each token of the prompt.")
    first_token_seconds: float = Field(0.0, ge=0, description="Time from the end of prefill to the first token.")
    inter_token_seconds: float = Field(0.0, ge=0, description="Mean time between two tokens of a sequence.")
    jitter: float = Field(
        0.0, ge=0, le=3, description="Sigma of a lognormal factor of mean 1 on each latency; drawn from the seed."
    )
    prefix_cache: bool = Field(
        False, description="Whether prompts that begin as an earlier one did find that part in a cache."
    )
    faults: tuple[Fault, ...] = Field((), description="What goes wrong, and in which requests.")

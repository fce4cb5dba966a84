"""What the backends say of themselves once they run: capabilities, defaults, and what became of the settings."""

from collections.abc import Collection

from bellhousing.capabilities import AdapterSupport, Bounds, Capabilities, Range, parameters
from bellhousing.settings import Batching, EngineSettings
from bellhousing_ollama.options import OllamaOptions
from bellhousing_ollama.shape import DEFAULT_BATCHED_TOKENS, DEFAULT_SEQUENCES, Shape

RANDOM_SEED = 2**32 - 1
"""llama.cpp takes this seed to mean "any"."""
MAX_TOP = 20
MAX_TOKENS = 2**31 - 1
COMPLETION, EMBEDDING = "completion", "embedding"
TEMPLATE = "chat_template"
"""The name under which Discovery tells of a chat template that Ollama has replaced."""


def capabilities(told: Collection[str], *, has_template: bool, adapters: AdapterSupport, sleep: bool) -> Capabilities:
    """Return what requests may ask for; `told` is what Ollama says that the model can do."""
    names: list[str] = []
    ranges: dict[str, Range] = {}
    if COMPLETION in told:
        names += ["text", *(["chat"] if has_template else [])]
        names += [f"sampling.{name}" for name in ("temperature", "top_p", "min_p", "typical_p")]
        names += ["structured_output.json_schema", "structured_output.json_object"]
        names += [] if adapters == "none" else ["adapter"]
        ranges = {
            "sampling__max_tokens": Range(1, MAX_TOKENS),
            "sampling__seed": Range(0, RANDOM_SEED - 1),
            "sampling__top_k": Range(0, MAX_TOKENS),
            "sampling__repetition_penalty": Range(minimum=0.01),
            "logprobs__top": Range(0, MAX_TOP),
        }
    return Capabilities(
        parameters=parameters(*names, **ranges),
        embed=EMBEDDING in told,
        adapters=adapters,
        sleep=sleep,
        determinism="solo",
        logprobs_mode="raw" if ranges else "unspecified",
        prefix_cache=True,
        joined_characters=True,
    )


def _bounds(*, adapters: AdapterSupport, sleep: bool) -> Bounds:
    """Return the bounds: a model may do neither of the two things that Ollama tells, or both."""
    return Bounds(
        least=capabilities((), has_template=False, adapters="none", sleep=sleep),
        most=capabilities((COMPLETION, EMBEDDING), has_template=True, adapters=adapters, sleep=sleep),
    )


BOUNDS = _bounds(adapters="derived", sleep=True)
ATTACHED_BOUNDS = _bounds(adapters="none", sleep=False)


def effective_settings(settings: EngineSettings, shape: Shape) -> EngineSettings:
    """Return what became of the settings."""
    batching = Batching(
        max_sequences=shape.sequences,
        max_batched_tokens=shape.batched_tokens,
        max_total_tokens=shape.sequences * shape.context_per_sequence,
    )
    return EngineSettings(batching=batching, parallelism=settings.parallelism)


def reasons(settings: EngineSettings, options: OllamaOptions, shape: Shape) -> dict[str, str]:
    """Return why settings became what they are, by setting."""
    asked, found = settings.batching, dict[str, str]()
    if asked.max_sequences is None:
        found["batching.max_sequences"] = f"{DEFAULT_SEQUENCES} unless told"
    if asked.max_batched_tokens is None:
        found["batching.max_batched_tokens"] = f"{DEFAULT_BATCHED_TOKENS} unless told"
    if asked.max_total_tokens != shape.sequences * shape.context_per_sequence:
        found["batching.max_total_tokens"] = (
            "each sequence gets the same share, in units of 256 tokens, at most what the model was trained for"
        )
    if options.adapters:
        found["batching.max_sequences"] = "of the base model; each adapter has a runner with as many of its own"
    if shape.pipeline > 1:
        found["parallelism.pipeline"] = "over all GPUs there are (OLLAMA_SCHED_SPREAD), whatever their number"
    return found

"""A generation request as a backend sees it: validated, complete, free of gRPC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]
Priority = Literal["low", "normal", "high"]
StructuredKind = Literal["json_schema", "json_object", "regex", "grammar", "choice"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message; `name` is the speaker's, for templates that use one."""

    role: Role
    content: str
    name: str = ""

    def for_template(self) -> dict[str, str]:
        """Return the message as a chat template takes it, without a name where it has none."""
        message = {"role": self.role, "content": self.content}
        return {**message, "name": self.name} if self.name else message


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation, to be rendered by the model's own template."""

    messages: tuple[ChatMessage, ...]
    add_generation_prompt: bool = True
    template_arguments: Mapping[str, object] = field(default_factory=dict)


Prompt = str | tuple[int, ...] | Chat


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. None means unset; the meaning of each field is in `inference.proto`."""

    max_tokens: int | None = None
    min_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    logit_bias: Mapping[int, float] | None = None
    n: int | None = None
    ignore_eos: bool | None = None


@dataclass(frozen=True, slots=True)
class Stopping:
    """What ends a sequence beside the end token. Core does the matching; backends may ignore it."""

    strings: tuple[str, ...] = ()
    token_ids: tuple[int, ...] = ()
    include_stop: bool = False


@dataclass(frozen=True, slots=True)
class StructuredOutput:
    """A form the output must have: `value` is the schema, regex or grammar; `options` are the choices."""

    kind: StructuredKind
    value: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One request, with the model's defaults filled in.

    `logprobs` and `prompt_logprobs` are the number of alternatives to return, None for no log probabilities.
    `sampling.seed` is set whenever the model supports seeds; `sampling.max_tokens` None means up to the context length.
    """

    id: str
    prompt: Prompt
    sampling: Sampling = Sampling()
    stopping: Stopping = Stopping()
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    structured_output: StructuredOutput | None = None
    adapter: str = ""
    priority: Priority = "normal"

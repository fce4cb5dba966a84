"""Whether Ollama renders a chat as the model's own template does: it may have put another in its place."""

from collections.abc import Sequence
from typing import Any, NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bellhousing.errors import BellhousingError
from bellhousing.requests import ChatMessage
from bellhousing_ollama.api import Api

PROBES: Sequence[Sequence[ChatMessage]] = (
    (ChatMessage("user", "Hello"),),
    (ChatMessage("system", "Be brief."), ChatMessage("user", "Hello")),
    (ChatMessage("user", "Hello"), ChatMessage("assistant", "Hi."), ChatMessage("user", "Who are you?")),
)
"""Without and with a system message, and with a turn of the assistant: where templates differ."""
TOLD = 120


def rendered(template: str, messages: Sequence[ChatMessage], *, bos: str = "", eos: str = "") -> str:
    """Return what a model's own template makes of messages.

    Raises `jinja2.TemplateError` when the template is broken or refuses them.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols], autoescape=False
    )
    environment.globals["raise_exception"] = _refuse
    arguments: dict[str, Any] = {"messages": [message.for_template() for message in messages]}
    return environment.from_string(template).render(
        **arguments, add_generation_prompt=True, bos_token=bos, eos_token=eos
    )


async def divergence(api: Api, model: str, template: str, *, eos: str) -> str:
    """Return how Ollama's rendering differs from the template's; empty where it does not, or none can be told.

    Ollama renders without generating for `_debug_render_only`, a field that it does not document.
    """
    for messages in PROBES:
        try:
            expected = rendered(template, messages, eos=eos)
        except jinja2.TemplateError:
            continue  # such as a template that takes no system message
        body = {
            "model": model,
            "messages": [message.for_template() for message in messages],
            "stream": False,
            "_debug_render_only": True,
        }
        try:
            answer = await api.post("/api/chat", body)
            found = str(answer["_debug_info"]["rendered_template"])
        except (BellhousingError, KeyError, TypeError):
            return "Ollama does not tell how it renders a chat, so it was not compared with the file's own template"
        if found != expected:
            place = next((n for n, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), 0)
            return (
                f"Ollama renders a chat unlike the file's own template: from character {place} on it has"
                f" {found[place : place + TOLD]!r}, expected {expected[place : place + TOLD]!r}"
            )
    return ""


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)

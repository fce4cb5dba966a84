"""From a prompt to token ids."""

import asyncio
from collections.abc import Sequence
from typing import Any

from bellhousing.errors import InvalidRequest, Violation
from bellhousing.requests import Chat, Prompt

LONG_TEXT = 4096
"""Characters from which a text is tokenised in a thread, so that it does not hold up other requests."""


async def token_ids(tokenizer: Any, prompt: Prompt, size: int, *, add_special: bool = True) -> list[int]:
    """Return the ids of a prompt. Raises `InvalidRequest` for ids of no token and for a chat the template refuses."""
    if isinstance(prompt, tuple):
        check_ids(prompt, size)
        return list(prompt)
    if isinstance(prompt, Chat):
        # A template writes all special tokens itself.
        prompt, add_special = _rendered(tokenizer, prompt), False
    if len(prompt) < LONG_TEXT:
        return _encoded(tokenizer, prompt, add_special)
    return await asyncio.to_thread(_encoded, tokenizer, prompt, add_special)


def check_ids(ids: Sequence[int], size: int) -> None:
    """Refuse ids outside a vocabulary of this size. Raises `InvalidRequest`."""
    outside = next((i for i in ids if not 0 <= i < size), None)
    if outside is not None:
        raise InvalidRequest([Violation("token_ids", f"must be token ids below {size}, found {outside}")])


def _encoded(tokenizer: Any, text: str, add_special: bool) -> list[int]:  # noqa: FBT001 - for to_thread
    return list(tokenizer.encode(text, add_special_tokens=add_special))


def _rendered(tokenizer: Any, chat: Chat) -> str:
    if not tokenizer.chat_template:
        raise InvalidRequest([Violation("chat", "the model has no chat template; expected text or token_ids")])
    messages = [message.for_template() for message in chat.messages]
    try:
        return str(
            tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=chat.add_generation_prompt,
                **chat.template_arguments,
            )
        )
    except Exception as error:
        violation = Violation("chat", f"the model's template refuses it: {error}")
        raise InvalidRequest([violation]) from error

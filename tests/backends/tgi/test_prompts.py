"""Prompts for models whose tokenizer adds special tokens, and tokens that share a character."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bellhousing.errors import EngineFault, InvalidRequest
from bellhousing.requests import Chat, ChatMessage, GenerationRequest
from bellhousing_tgi.api import Api
from bellhousing_tgi.prompts import Prompts, pieces
from tests.engines.server import Answer, Asked, as_json, listening
from tests.engines.tgi import tokens_of

BOS = {"id": 7, "text": "", "start": 0, "stop": 0}
CHAT = Chat((ChatMessage("user", "Hi"),))
REQUEST = GenerationRequest("x", "x")


def tokens(text: str) -> list[dict[str, Any]]:
    return [found for found, _ in tokens_of(text)]


def shifted(found: list[dict[str, Any]], by: int) -> list[dict[str, Any]]:
    return [{**token, "start": token["start"] + by, "stop": token["stop"] + by} for token in found]


class Tokenizer:
    """A router's routes for prompts, of a model with a token `<s>` before each; `template` is what a chat becomes."""

    def __init__(self, template: str = "<s>user: Hi\n", *, is_before: bool = True) -> None:
        self.template = template
        self.is_before = is_before

    async def __call__(self, asked: Asked) -> Answer:
        if asked.path == "/tokenize":
            text = asked.json()["inputs"]
            return as_json([BOS, *tokens(text)] if self.is_before else [*tokens(text), BOS])
        if not self.template:
            return as_json({"error": "no template", "error_type": "template_error"}, status=422)
        rest = self.template.removeprefix("<s>")
        special = [{"id": 7, "text": "<s>", "start": 0, "stop": 3}] if rest != self.template else []
        found = [*special, *shifted(tokens(rest), len(self.template) - len(rest))]
        return as_json({"tokenize_response": found, "templated_text": self.template})


@asynccontextmanager
async def prompts_of(tokenizer: Tokenizer) -> AsyncIterator[Prompts]:
    async with listening(tokenizer) as server:
        api = Api(server.url, "", "tgi")
        try:
            yield await Prompts.of(api, "tgi")
        finally:
            await api.close()


async def test_special_tokens_that_a_template_writes_are_cut_since_the_router_adds_them() -> None:
    async with prompts_of(Tokenizer()) as prompts:
        rendered = await prompts.rendered(CHAT, REQUEST)
    assert (prompts.special, prompts.has_template) == ((7,), True)
    assert rendered.text == "user: Hi\n"
    assert rendered.ids == (7, *(token["id"] for token in tokens("user: Hi\n")))


async def test_special_tokens_of_a_text_are_counted_and_left_out_where_nobody_wants_them() -> None:
    async with prompts_of(Tokenizer()) as prompts:
        assert (await prompts.rendered("one two", REQUEST)).ids[0] == 7
        with_special, without = [await prompts.tokens("one two", add_special=flag) for flag in (True, False)]
    assert [token.piece for token in with_special] == [b"", b"one", b" two"]
    assert without == with_special[1:]


@pytest.mark.parametrize("template", ["user: Hi\n", ""])
async def test_a_template_without_the_special_tokens_or_none_at_all_means_no_chat(template: str) -> None:
    async with prompts_of(Tokenizer(template)) as prompts:
        assert not prompts.has_template


async def test_a_template_that_forgets_the_special_tokens_later_is_an_error() -> None:
    tokenizer = Tokenizer()
    async with prompts_of(tokenizer) as prompts:
        tokenizer.template = "user: Hi\n"
        with pytest.raises(EngineFault, match="left out the special tokens"):
            await prompts.rendered(CHAT, REQUEST)


async def test_special_tokens_behind_a_text_mean_that_none_can_be_left_out() -> None:
    async with prompts_of(Tokenizer(is_before=False)) as prompts:
        assert prompts.special is None
        assert not prompts.has_template


async def test_prompts_that_a_router_does_not_take_are_refused_by_name() -> None:
    async with prompts_of(Tokenizer()) as prompts:
        for prompt, field in (
            ("", "text"),
            ((1, 2), "token_ids"),
            (Chat(CHAT.messages, add_generation_prompt=False), "chat.add_generation_prompt"),
        ):
            with pytest.raises(InvalidRequest) as raised:
                await prompts.rendered(prompt, REQUEST)
            assert raised.value.violations[0].field == field


@pytest.mark.parametrize("text", ["plain words", "日", " 日本語 🙂 é", "é日", "a🙂b"])
def test_tokens_of_one_byte_in_a_character_have_their_own_bytes(text: str) -> None:
    found = tokens_of(text)
    assert [token.piece for token in pieces(text, [told for told, _ in found])] == [piece for _, piece in found]


def test_bytes_of_a_character_cut_at_an_unknown_place_come_with_its_last_token() -> None:
    span = {"start": 0, "stop": 4}
    found = pieces("🙂!", [{"id": 1, **span}, {"id": 2, **span}, {"id": 3, "start": 4, "stop": 5}])
    assert [token.piece for token in found] == [b"", "🙂".encode(), b"!"]

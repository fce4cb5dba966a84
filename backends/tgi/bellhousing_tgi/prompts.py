"""Prompts as a router takes them: text, to which it adds the tokenizer's special tokens by itself.

A chat is rendered by the router's own template (`/chat_tokenize`) and sent as the text that came out, so that the
native route generates. What the template wrote of those special tokens is cut off, or they would come twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from bellhousing.backend import TokenPiece
from bellhousing.errors import EngineFault, InvalidRequest, Violation
from bellhousing.requests import Chat, ChatMessage, GenerationRequest, Prompt
from bellhousing_tgi.api import Api
from bellhousing_tgi.errors import unreadable

SAMPLE = "Hello world, héllo 日本語 🙂"
GREETING = Chat((ChatMessage("user", "Hi there"),))


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as text for a router, and the ids it becomes there."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prompts:
    """What one router does with prompts. `special` are the ids it puts before each; None if it puts them elsewhere."""

    api: Api
    backend: str
    special: tuple[int, ...] | None
    has_template: bool

    @classmethod
    async def of(cls, api: Api, backend: str) -> Self:
        """Try it out. Raises what the router answers."""
        bare = cls(api, backend, (), has_template=True)
        special = tuple(token.id for token in await bare.tokens("", add_special=True))
        sample = [token.id for token in await bare.tokens(SAMPLE, add_special=True)]
        if tuple(sample[: len(special)]) != special:
            return cls(api, backend, None, has_template=False)
        try:
            chat = await bare.tokens(GREETING, add_special=True)
        except (InvalidRequest, EngineFault):
            return cls(api, backend, special, has_template=False)
        # A template that writes other special tokens would be sent with those of the router before them.
        begins_alike = tuple(token.id for token in chat[: len(special)]) == special
        return cls(api, backend, special, has_template=begins_alike)

    async def rendered(self, prompt: Prompt, request: GenerationRequest) -> Rendered:
        """Return a prompt as text. Raises `InvalidRequest` for one of no tokens, or that the template refuses."""
        if isinstance(prompt, Chat):
            text, tokens = await self._chat(prompt, request)
            return Rendered(self._without_special(text, tokens), tuple(int(token["id"]) for token in tokens))
        if not isinstance(prompt, str):
            raise InvalidRequest([Violation("token_ids", "is not supported by TGI")], backend=self.backend)
        if not prompt:
            raise InvalidRequest([Violation("text", "must have at least one token, found none")], backend=self.backend)
        tokens = await self._plain(prompt, request)
        return Rendered(prompt, tuple(int(token["id"]) for token in tokens))

    async def tokens(self, prompt: str | Chat, *, add_special: bool) -> list[TokenPiece]:
        """Return the tokens of a prompt with their bytes.

        Where a router does not tell how a character is shared among fewer tokens than it has bytes, its bytes come with
        the last of them.
        """
        asked = GenerationRequest("", prompt)
        if isinstance(prompt, Chat):
            text, tokens = await self._chat(prompt, asked)
            return pieces(text, tokens)
        found = pieces(prompt, await self._plain(prompt, asked))
        return found if add_special or self.special is None else found[len(self.special) :]

    async def _plain(self, text: str, request: GenerationRequest) -> list[Mapping[str, Any]]:
        return self._checked(await self.api.post("/tokenize", {"inputs": text}, request))

    async def _chat(self, chat: Chat, request: GenerationRequest) -> tuple[str, list[Mapping[str, Any]]]:
        if not chat.add_generation_prompt:
            raise InvalidRequest(
                [Violation("chat.add_generation_prompt", "must be true: a TGI router always adds it")],
                backend=self.backend,
            )
        messages = [message.for_template() for message in chat.messages]
        answer = await self.api.post("/chat_tokenize", {"model": "tgi", "messages": messages}, request)
        if not isinstance(answer, dict) or not isinstance(answer.get("templated_text"), str):
            raise unreadable("`templated_text`", str(answer), self.backend)
        return answer["templated_text"], self._checked(answer.get("tokenize_response"))

    def _checked(self, found: Any) -> list[Mapping[str, Any]]:
        if isinstance(found, list) and all({"id", "start", "stop"} <= token.keys() for token in found):
            return found
        raise unreadable("a list of tokens", str(found), self.backend)

    def _without_special(self, text: str, tokens: Sequence[Mapping[str, Any]]) -> str:
        if not self.special:
            return text
        written = tokens[: len(self.special)]
        if tuple(int(token["id"]) for token in written) != self.special:
            raise EngineFault("the template left out the special tokens that a TGI router adds", backend=self.backend)
        return text.encode()[int(written[-1]["stop"]) :].decode()


def pieces(text: str, tokens: Sequence[Mapping[str, Any]]) -> list[TokenPiece]:
    """Return tokens with their bytes. A router tells spans in bytes, widened to the characters that a token touches."""
    raw = text.encode()
    found: list[TokenPiece] = []
    for group in _overlapping(tokens):
        for token, piece in zip(group, _shared(raw, group), strict=True):
            found.append(TokenPiece(int(token["id"]), piece))
    return found


def _overlapping(tokens: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Return runs of tokens in which each shares a character with the one before it."""
    groups: list[list[Mapping[str, Any]]] = []
    for token in tokens:
        if groups and token["start"] < groups[-1][-1]["stop"]:
            groups[-1].append(token)
        else:
            groups.append([token])
    return groups


def _shared(raw: bytes, group: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Return the bytes of each token of a run: exact where each has one byte of a single character."""
    start, stop = group[0]["start"], group[-1]["stop"]
    if len(group) == 1:
        return [raw[start:stop]]
    shared = group[1]["start"]
    is_one_character = all((token["start"], token["stop"]) == (shared, stop) for token in group[1:])
    if is_one_character and stop - shared == len(group):
        return [raw[start : shared + 1], *(raw[place : place + 1] for place in range(shared + 1, stop))]
    return [b""] * (len(group) - 1) + [raw[start:stop]]

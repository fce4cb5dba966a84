"""A Text Generation Inference router that follows a script: its native routes, with the shapes and errors recorded."""

import codecs
import itertools
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

from tests.engines.scripted import ScriptedEngine, Token, script_of, spelled
from tests.engines.server import Answer, Asked, as_json, stream, whole

EOS = {"id": 2, "text": "<|im_end|>", "logprob": -0.25, "special": True}
COMMENT = b":\n\n"
CHECKED_UP_TO = 1024
"""`max_new_tokens` beyond this is not compared with the limits."""


def event(value: object) -> bytes:
    """Return a server-sent event as the router writes it."""
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def error_frame(message: str, error_type: str) -> bytes:
    """Return the frame of an error inside a stream."""
    return event({"error": message, "error_type": error_type})


class ScriptedTgi(ScriptedEngine):
    """Generates words; `eos_after` tokens ends by the end token. A grammar in `forms` (JSON text) gives its text.

    `adapters` change what comes; an unknown one, as in the real router, does not.
    """

    def __init__(self, *, max_input_tokens: int = 512, max_total_tokens: int = 1024, adapters: tuple[str, ...] = ()):
        super().__init__()
        self.max_input_tokens = max_input_tokens
        self.max_total_tokens = max_total_tokens
        self.max_concurrent_requests = 128
        self.adapters = adapters
        self.eos_after: int | None = None
        self.forms: dict[str, str] = {}
        self.is_healthy = True

    async def answer(self, asked: Asked) -> Answer:
        """Answer a native route; 404 elsewhere."""
        match asked.method, asked.path:
            case "GET", "/info":
                return as_json(self._info())
            case "GET", "/health":
                unwell = {"error": "unhealthy", "error_type": "healthcheck"}
                return whole(b"", "") if self.is_healthy else as_json(unwell, status=503)
            case "GET", "/metrics":
                return whole(self._metrics().encode(), "text/plain; charset=utf-8")
            case "POST", "/tokenize":
                return as_json([found for found, _ in tokens_of(asked.json()["inputs"])])
            case "POST", "/chat_tokenize":
                text = templated(asked.json()["messages"])
                return as_json({"tokenize_response": [found for found, _ in tokens_of(text)], "templated_text": text})
            case "POST", "/generate_stream":
                return self._generated(asked.json())
        return whole(b"", "", status=404)

    def _info(self) -> dict[str, Any]:
        return {
            "model_id": "scripted",
            "model_sha": None,
            "model_pipeline_tag": None,
            "max_concurrent_requests": self.max_concurrent_requests,
            "max_best_of": 2,
            "max_stop_sequences": 4,
            "max_input_tokens": self.max_input_tokens,
            "max_total_tokens": self.max_total_tokens,
            "validation_workers": 2,
            "max_client_batch_size": 4,
            "router": "text-generation-router",
            "version": "3.3.6-dev0",
            "sha": None,
            "docker_label": None,
        }

    def _metrics(self) -> str:
        if not self.asked:
            return ""
        return (
            "# TYPE tgi_batch_current_size gauge\n"
            f"tgi_batch_current_size {self.running}\n\n# TYPE tgi_queue_size gauge\ntgi_queue_size 0\n"
        )

    def _generated(self, body: dict[str, Any]) -> Answer:
        wanted = body.get("parameters", {})
        prompt_tokens = len(tokens_of(body["inputs"]))
        refusal = self._refusal(wanted, prompt_tokens)
        if refusal:
            return stream([refusal], "text/event-stream")
        frames = list(self._frames(body["inputs"], wanted, prompt_tokens))
        return Answer(lambda: self.streamed(frames), headers={"content-type": "text/event-stream"})

    def _refusal(self, wanted: dict[str, Any], prompt_tokens: int) -> bytes | None:
        if self.running >= self.max_concurrent_requests:
            return error_frame("Model is overloaded", "overloaded")
        problem = ""
        limit = wanted.get("max_new_tokens") or 0
        if prompt_tokens > self.max_input_tokens:
            problem = f"`inputs` must have less than {self.max_input_tokens} tokens. Given: {prompt_tokens}"
        elif limit <= CHECKED_UP_TO and prompt_tokens + limit > self.max_total_tokens:
            problem = (
                f"`inputs` tokens + `max_new_tokens` must be <= {self.max_total_tokens}."
                f" Given: {prompt_tokens} `inputs` tokens and {limit} `max_new_tokens`"
            )
        elif not 0 < wanted.get("top_p", 0.5) < 1:
            problem = "`top_p` must be > 0.0 and < 1.0"
        elif wanted.get("temperature", 1.0) <= 0:
            problem = "`temperature` must be strictly positive"
        return error_frame(f"Input validation error: {problem}", "validation") if problem else None

    def _frames(self, prompt: str, wanted: dict[str, Any], prompt_tokens: int) -> Iterator[bytes]:
        tokens, is_ended = self._tokens(prompt, wanted)
        decoder = codecs.getincrementaldecoder("utf-8")()
        entries = [self._entry(token, decoder.decode(token.piece)) for token in tokens]
        # As in the router: a generation that ends inside a character loses all of its text there.
        text = "" if decoder.getstate()[0] else "".join(entry["text"] for entry in entries)
        if is_ended:
            entries.append(EOS)
        for number, entry in enumerate(entries, 1):
            frame: dict[str, Any] = {"index": number, "token": entry}
            if most := wanted.get("top_n_tokens"):
                others = [
                    {**entry, "id": 300 + n, "text": f"?{n}", "logprob": entry["logprob"] - n} for n in range(most)
                ]
                frame["top_tokens"] = [entry, *others[1:], *others[:1]]
            is_last = number == len(entries)
            details = {
                "finish_reason": "eos_token" if is_ended else "length",
                "generated_tokens": number,
                "seed": wanted.get("seed"),
                "input_length": prompt_tokens,
            }
            frame["generated_text"] = text if is_last else None
            frame["details"] = details if is_last and wanted.get("details") else None
            yield event(frame)

    def _tokens(self, prompt: str, wanted: dict[str, Any]) -> tuple[list[Token], bool]:
        """Return the tokens, and whether the end token follows."""
        limit = wanted.get("max_new_tokens") or 100
        form = self.forms.get(json.dumps(wanted["grammar"], sort_keys=True)) if "grammar" in wanted else None
        if form is not None:
            tokens = spelled(form)
            return tokens[:limit], limit > len(tokens)
        adapter = wanted.get("adapter_id", "")
        seed = wanted.get("seed") if "temperature" in wanted or wanted.get("do_sample") else None
        script = script_of(prompt, seed, adapter if adapter in self.adapters else "")
        is_ended = self.eos_after is not None and self.eos_after < limit
        return list(itertools.islice(script, self.eos_after if is_ended else limit)), is_ended

    @staticmethod
    def _entry(token: Token, text: str) -> dict[str, Any]:
        return {"id": token.id, "text": text, "logprob": token.logprob, "special": False}


def templated(messages: list[dict[str, str]]) -> str:
    """Return a conversation as text: ChatML."""
    said = "".join(f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages)
    return f"{said}<|im_start|>assistant\n"


def tokens_of(text: str) -> list[tuple[dict[str, Any], bytes]]:
    """Return tokens as `/tokenize` tells them, each with its true bytes.

    Spans count bytes and widen to whole characters, so the tokens of a character's bytes share its span.
    """
    found: list[tuple[dict[str, Any], bytes]] = []
    start = 0
    for part in re.findall(r" ?\w+|.", text, re.DOTALL):
        raw = part.encode()
        pieces = [raw] if part.isascii() else [bytes([byte]) for byte in raw]
        for place, piece in enumerate(pieces):
            first, last = _whole_characters(raw, place, place + len(piece))
            told = raw[first:last].decode()
            entry = {"id": zlib.crc32(piece) % 30000 + 1000, "text": told, "start": start + first, "stop": start + last}
            found.append((entry, piece))
        start += len(raw)
    return found


def _whole_characters(raw: bytes, first: int, last: int) -> tuple[int, int]:
    """Widen a span of bytes to the characters it touches."""
    while raw[first] & 0b1100_0000 == 0b1000_0000:
        first -= 1
    while last < len(raw) and raw[last] & 0b1100_0000 == 0b1000_0000:
        last += 1
    return first, last

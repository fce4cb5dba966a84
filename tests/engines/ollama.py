"""An Ollama server that follows a script: the routes of generation, with the shapes and errors recorded."""

import codecs
import itertools
import json
from collections.abc import Iterator
from typing import Any

from tests.engines.scripted import ScriptedEngine, script_of, spelled
from tests.engines.server import Answer, Asked, as_json, whole

MODEL = "scripted:latest"
CREATED = "2026-01-01T00:00:00.000000000Z"
FRAMES = {"/api/generate": "response", "/api/chat": "message"}


def line(value: object) -> bytes:
    """Return one line of NDJSON as the server writes it."""
    return f"{json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n".encode()


def error_frame(message: str) -> bytes:
    """Return the line of an error inside a stream."""
    return line({"error": message})


class ScriptedOllama(ScriptedEngine):
    """Generates words; `eos_after` tokens ends with "stop". A `format` in `forms` (JSON text) gives its text."""

    def __init__(self, *, context_length: int = 4096, models: tuple[str, ...] = (MODEL,)) -> None:
        super().__init__()
        self.context_length = context_length
        self.models = models
        self.eos_after: int | None = None
        self.forms: dict[str, str] = {}

    async def answer(self, asked: Asked) -> Answer:
        """Answer a route of generation or discovery; 404 elsewhere."""
        match asked.method, asked.path:
            case "GET" | "HEAD", "/":
                return whole(b"Ollama is running", "text/plain; charset=utf-8")
            case "GET", "/api/version":
                return as_json({"version": "0.34.0"})
            case "GET", "/api/tags":
                return as_json({"models": [self._listed(name) for name in self.models]})
            case "GET", "/api/ps":
                return as_json({"models": [self._loaded(name) for name in self.models]})
            case "POST", "/api/show":
                return self._known(asked) or as_json(self._shown())
            case "POST", "/api/generate" | "/api/chat":
                return self._known(asked) or self._generated(asked)
        return whole(b"404 page not found", "text/plain", status=404)

    def _known(self, asked: Asked) -> Answer | None:
        """Return the refusal of a model that is not here."""
        name = str(asked.json().get("model", ""))
        if name in self.models or f"{name}:latest" in self.models:
            return None
        return as_json({"error": f"model '{name}' not found"}, status=404)

    def _listed(self, name: str) -> dict[str, Any]:
        details = {"format": "gguf", "family": "llama", "parameter_size": "134.52M", "quantization_level": "Q4_1"}
        return {"name": name, "model": name, "modified_at": CREATED, "size": 1, "digest": "0" * 64, "details": details}

    def _loaded(self, name: str) -> dict[str, Any]:
        return {**self._listed(name), "expires_at": CREATED, "size_vram": 0, "context_length": self.context_length}

    def _shown(self) -> dict[str, Any]:
        information = {"general.architecture": "llama", "llama.context_length": self.context_length}
        return {"details": self._listed("")["details"], "model_info": information, "capabilities": ["completion"]}

    def _generated(self, asked: Asked) -> Answer:
        body = asked.json()
        frames = list(self._frames(FRAMES[asked.path], body))
        if body.get("stream", True):
            return Answer(lambda: self.streamed(frames), headers={"content-type": "application/x-ndjson"})
        return as_json(_joined([json.loads(frame) for frame in frames], FRAMES[asked.path]))

    def _frames(self, field: str, body: dict[str, Any]) -> Iterator[bytes]:
        options = body.get("options", {})
        prompt = body["prompt"] if field == "response" else json.dumps(body["messages"])
        limit = options.get("num_predict") or 100
        form = self.forms.get(json.dumps(body["format"], sort_keys=True)) if body.get("format") else None
        if form is not None:
            tokens = spelled(form)[:limit]
            is_ended = limit > len(tokens)
        else:
            is_ended = self.eos_after is not None and self.eos_after < limit
            seed = options.get("seed") if options.get("temperature", 0.8) else None
            script = script_of(prompt, seed, body["model"])
            tokens = list(itertools.islice(script, self.eos_after if is_ended else limit))
        decoder = codecs.getincrementaldecoder("utf-8")()
        head = {"model": body["model"], "created_at": CREATED}
        entries: list[dict[str, Any]] = []
        for token in tokens:
            text = decoder.decode(token.piece)
            entries.append({"token": text, "logprob": token.logprob, "bytes": list(token.piece)})
            if text:  # A token that ends inside a character is held back.
                logprobs = {"logprobs": _with_top(entries, body)} if body.get("logprobs") else {}
                yield line({**head, field: _said(field, text), "done": False, **logprobs})
                entries = []
        last = {field: _said(field, ""), "done": True, "done_reason": "stop" if is_ended else "length"}
        yield line({**head, **last, **_counts(len(prompt.split()) or 1, len(tokens) + is_ended)})


def _said(field: str, text: str) -> object:
    return text if field == "response" else {"role": "assistant", "content": text}


def _with_top(entries: list[dict[str, Any]], body: dict[str, Any]) -> list[dict[str, Any]]:
    most = body.get("top_logprobs", 0)
    if not most:
        return entries
    lower = [{"token": f"?{n}", "bytes": list(f"?{n}".encode())} for n in range(1, most)]
    return [
        {
            **entry,
            "top_logprobs": [entry, *({**one, "logprob": entry["logprob"] - n} for n, one in enumerate(lower, 1))],
        }
        for entry in entries
    ]


def _counts(prompt_tokens: int, output_tokens: int) -> dict[str, int]:
    return {
        "total_duration": 3_000_000,
        "load_duration": 500_000,
        "prompt_eval_count": prompt_tokens,
        "prompt_eval_cached_count": 0,
        "prompt_eval_duration": 1_000_000,
        "eval_count": output_tokens,
        "eval_duration": 1_500_000,
    }


def _joined(frames: list[dict[str, Any]], field: str) -> dict[str, Any]:
    """Return the answer of a request that does not stream."""
    texts = [frame[field] if field == "response" else frame[field]["content"] for frame in frames]
    logprobs = [entry for frame in frames for entry in frame.get("logprobs", [])]
    return {**frames[-1], field: _said(field, "".join(texts)), **({"logprobs": logprobs} if logprobs else {})}

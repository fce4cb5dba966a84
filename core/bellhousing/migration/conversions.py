"""Rules that several servers share: sources of models, addresses, keys of clients."""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from bellhousing.config import is_loopback
from bellhousing.migration.rules import Outcome, Rule, fixed, to

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
FETCHED = "fetched by the server: needs `bellhousing[hf]`"
EXPOSED = "other addresses need server.tls and auth.tokens, or server.insecure = true"

port = to("server.port", int, "the same port, but gRPC")


def host(value: str) -> Outcome:
    """Keep a loopback address; others expose the server, which needs more than an address."""
    return Outcome({"server.host": value}) if is_loopback(value) else Outcome(verdict="lost", reason=EXPOSED)


def model_source(host_path: Callable[[str], str], revision: str = "") -> Rule:
    """Return a rule for a path, whose place on the host `host_path` tells, or the name of a model of the hub."""

    def apply(text: str) -> Outcome:
        path = host_path(text)
        if path != text:
            return Outcome({"model": path}, "changed", "where the host has it")
        if is_hub_name(text):
            source = f"hf://{text}@{revision}" if revision else f"hf://{text}"
            return Outcome({"model": source}, "changed", FETCHED)
        return Outcome({"model": text})

    return apply


def is_hub_name(text: str) -> bool:
    """Tell whether a text names a model of the hub: it could, and nothing here has that path."""
    return HUB_NAME.fullmatch(text) is not None and not text.startswith(".") and not Path(text).exists()


def bearer_tokens(keys: Sequence[str]) -> Rule:
    """Return a rule that keeps keys of clients, as the hashes of bearer tokens."""
    tokens = [{"sha256": hashlib.sha256(key.encode()).hexdigest(), "tenant": "default"} for key in keys]
    reason = "the key is a bearer token, of which the file has the hash"
    return fixed(Outcome({"auth.tokens": tokens}, "changed", reason))

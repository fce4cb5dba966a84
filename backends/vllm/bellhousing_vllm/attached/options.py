"""Options of the attached vLLM backend."""

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from bellhousing.settings import Strict


class AttachedOptions(Strict):
    """Which server, and which of its models. How it batches and is spread over devices is its own affair."""

    url: str = Field("http://127.0.0.1:8000", description="Address of vLLM's OpenAI-compatible server.")
    served_model: str = Field("", description="Name of the model there; unset: the only one that is no adapter.")
    api_key_file: Path | None = Field(None, description="File with the server's API key, and nothing else.")
    insecure: bool = Field(default=False, description="Allow plain http to another host than this one.")

    @model_validator(mode="after")
    def _plain_text_stays_here(self) -> "AttachedOptions":
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"url: expected http://HOST:PORT or https://HOST, found {self.url!r}")
        if parts.scheme == "http" and not self.insecure and not _is_loopback(parts.hostname):
            raise ValueError(f"url: expected https, a loopback address or `insecure = true`, found {self.url!r}")
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

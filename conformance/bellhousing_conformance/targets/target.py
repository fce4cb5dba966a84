"""A target as a person names it: an address, or a TOML file with hooks."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from bellhousing.client import Tls
from bellhousing.errors import ConfigurationError
from bellhousing.settings import Strict
from bellhousing_conformance.calls import Address
from bellhousing_conformance.targets.hooks import Hook, HookName, Hooks, command_hook, metrics_hook
from bellhousing_conformance.toml_file import read_toml

SILENCE_SECONDS = 60.0
LOADING_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Target:
    """What is judged. `model` may be empty when the server has exactly one; `silence` is in seconds (see `Calls`).

    Raises `ConfigurationError` for an address that is neither HOST:PORT nor a socket's.

    A model that is being loaded when a run begins is waited for, at most `loading` seconds.
    `adapters` are sources of adapters that fit the model, of different weights, that the server may read.
    """

    where: Address
    model: str = ""
    hooks: Hooks = field(default_factory=Hooks)
    silence: float = SILENCE_SECONDS
    loading: float = LOADING_SECONDS
    adapters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        address = self.where.address
        host, _, port = address.rpartition(":")
        if not address.startswith("unix:") and not (host and port.isdecimal() and 0 < int(port) < 2**16):
            raise ConfigurationError(f"target {address!r}: expected HOST:PORT")


class TlsFile(Strict):
    """PEM files."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class TargetFile(Strict):
    """The TOML file of a target. `token_env` names the variable that holds the token: secrets stay out of files.

    `metrics` is the URL that Prometheus scrapes: the hook of that name for who needs no command.
    """

    address: str = Field(min_length=1)
    model: str = ""
    token_env: str = ""
    insecure: bool = False
    silence_seconds: float = Field(SILENCE_SECONDS, gt=0)
    loading_seconds: float = Field(LOADING_SECONDS, ge=0)
    tls: TlsFile | None = None
    hooks: Mapping[HookName, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    adapters: tuple[str, ...] = ()
    metrics: str = ""

    def known_hooks(self) -> Hooks:
        """Return the hooks of the file."""
        known: dict[HookName, Hook] = {name: command_hook(name, command) for name, command in self.hooks.items()}
        return Hooks({**known, "metrics": metrics_hook(self.metrics)} if self.metrics else known)


def load_target(file: Path) -> Target:
    """Return the target of a file. Raises `ConfigurationError` naming the file, the key and what was found."""
    told = read_toml(TargetFile, file, "target file")
    token = os.environ.get(told.token_env, "") if told.token_env else ""
    if told.token_env and not token:
        raise ConfigurationError(f"target file {str(file)!r}: expected a token in {told.token_env}, found none")
    tls = Tls(told.tls.ca, told.tls.certificate, told.tls.key) if told.tls else None
    where = Address(told.address, tls, token, told.insecure)
    return Target(where, told.model, told.known_hooks(), told.silence_seconds, told.loading_seconds, told.adapters)

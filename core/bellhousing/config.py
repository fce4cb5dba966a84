"""The server's configuration: flags over environment (`BELLHOUSING_*`) over file (`bellhousing.toml`)."""

import difflib
import ipaddress
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from pydantic_settings.exceptions import SettingsError

from bellhousing.adapters.policies import PolicyName
from bellhousing.errors import ConfigurationError
from bellhousing.settings import Batching, Parallelism, Strict


class TlsConfig(Strict):
    """Certificates of the server. With `client_ca` clients must show a certificate of their own (mTLS)."""

    certificate: Path = Field(description="Certificate chain, PEM.")
    key: Path = Field(description="Private key, PEM.")
    client_ca: Path | None = Field(None, description="Authorities of client certificates, PEM.")


class TokenConfig(Strict):
    """A bearer token and what it allows. Only its hash is stored: `printf %s TOKEN | sha256sum`."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the token, lower-case hex.")
    tenant: str = Field(min_length=1, max_length=128, description="The tenant that the token speaks for.")
    services: tuple[str, ...] = Field(
        ("inference", "discovery"), description="Allowed services: `inference`, `discovery`, `admin`."
    )
    models: tuple[str, ...] = Field((), description="Allowed models; empty for all.")


class AuthConfig(Strict):
    """Who may call. Without tokens everyone who reaches the port may, so the port must be a loopback one."""

    tokens: tuple[TokenConfig, ...] = Field((), description="Known tokens.")


class ServerConfig(Strict):
    """Where and how the server listens."""

    host: str = Field("127.0.0.1", description="Address to listen on. Other than loopback needs TLS and tokens.")
    port: int = Field(50051, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    tls: TlsConfig | None = Field(None, description="Certificates; none means plain text.")
    insecure: bool = Field(False, description="Allow another address than loopback without TLS or tokens.")
    reflection: bool = Field(True, description="Serve gRPC reflection (never without tokens when exposed).")
    max_message_bytes: int = Field(16 * 2**20, ge=1024, description="Largest request message, in bytes.")
    grace_seconds: float = Field(30.0, ge=0, description="How long requests in flight may go on after SIGTERM.")


class AdmissionConfig(Strict):
    """What waits and what is refused, for each model."""

    max_running: int | None = Field(None, ge=1, description="Most requests in the engine; unset: what it can batch.")
    max_running_tokens: int | None = Field(None, ge=1, description="Most estimated tokens in the engine at once.")
    max_queued: int = Field(1024, ge=0, description="Most requests that wait.")
    max_queued_tokens: int | None = Field(None, ge=1, description="Most estimated tokens of the requests that wait.")


class RestartConfig(Strict):
    """How an engine that died is started again: waits double from `first` to `most`."""

    first_seconds: float = Field(0.5, gt=0, description="Wait before the first restart.")
    most_seconds: float = Field(30.0, gt=0, description="Longest wait.")
    limit: int = Field(
        8, ge=0, description="Deaths in a row, each within a minute of its start, that end the attempts."
    )


class AdaptersConfig(Strict):
    """Where registered adapters are remembered, and what is fetched of them is kept."""

    registry: str = Field(
        "",
        max_length=2048,
        description="SQLAlchemy URL of the registry, such as `postgresql+psycopg://host/name`, which replicas share;"
        " `memory` forgets it at the end. Unset: a SQLite file in the user's data directory, made when it is needed.",
    )
    sync_seconds: float = Field(1.0, gt=0, description="How often the registry is asked for what other replicas did.")
    cache_directory: Path | None = Field(
        None, description="Where fetched adapters are kept; unset: in the user's cache directory."
    )
    cache_bytes: int = Field(20 * 2**30, ge=1, description="Most bytes of fetched adapters on the disk.")
    max_adapter_bytes: int = Field(4 * 2**30, ge=1, description="Largest file of weights that is taken, in bytes.")


class ModelConfig(Strict):
    """One model, the backend that serves it, and the settings shared by all engines."""

    name: str = Field("", max_length=128, description="Name in requests; unset: derived from `model`.")
    backend: str = Field(min_length=1, description="Name of an installed backend.")
    model: str = Field(
        "", description="Source: a path, `hf://org/name[@revision][/file]` or `pkg://distribution/path`."
    )
    batching: Batching = Field(Batching(), description="How much the engine takes at once.")
    parallelism: Parallelism = Field(Parallelism(), description="How the model is spread over devices.")
    admission: AdmissionConfig = Field(AdmissionConfig(), description="Queueing.")
    restart: RestartConfig = Field(RestartConfig(), description="Restarting a dead engine.")
    adapter_roots: tuple[Path, ...] = Field((), description="Directories that adapters may be loaded from.")
    adapter_sources: tuple[str, ...] = Field(
        (),
        description="Beginnings of addresses that adapters may be fetched from, such as `hf://org` or `s3://bucket/loras`.",
    )
    adapter_slots: int = Field(8, ge=1, description="Most adapters on the device at once.")
    adapter_bytes: int | None = Field(
        None, ge=1, description="Most bytes of the weights of adapters on the device at once, as in their files."
    )
    adapter_policy: PolicyName = Field("s3-fifo", description="Which adapter makes room for another.")
    adapter_patience_seconds: float = Field(
        2.0,
        ge=0,
        description="How long a wanted adapter waits, when all are in use, before one of them takes no more requests.",
    )
    load_on_start: bool = Field(True, description="Load it when the server starts, not by Admin.LoadModel.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the backend.")

    @model_validator(mode="after")
    def _named(self) -> "ModelConfig":
        return self if self.name else self.model_copy(update={"name": default_name(self.backend, self.model)})


class Config(BaseSettings):
    """Everything `bellhousing serve` can be told."""

    model_config = SettingsConfigDict(
        env_prefix="BELLHOUSING_", env_nested_delimiter="__", extra="forbid", frozen=True, toml_file=None
    )

    server: ServerConfig = Field(ServerConfig(), description="Where and how the server listens.")
    auth: AuthConfig = Field(AuthConfig(), description="Who may call.")
    adapters: AdaptersConfig = Field(AdaptersConfig(), description="The registry of adapters.")
    models: tuple[ModelConfig, ...] = Field((), description="The models to serve.")

    @field_validator("models")
    @classmethod
    def _distinct(cls, models: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        names = [model.name for model in models]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"model names must differ, found {', '.join(twice)} more than once")
        return models

    @model_validator(mode="after")
    def _safe(self) -> "Config":
        server = self.server
        exposed = not is_loopback(server.host)
        if exposed and not server.insecure and not (server.tls and self.auth.tokens):
            raise ValueError(
                f"server.host {server.host!r} is reachable from outside: expected server.tls and auth.tokens,"
                " or server.insecure = true to go without"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags over environment over file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_config(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Config:
    """Return the configuration of `flags` (nested like the file) over the environment over a TOML file.

    Raises `ConfigurationError` naming the key, what was found and the nearest known key.
    """
    if file is not None and not file.is_file():
        raise ConfigurationError(f"configuration file {str(file)!r}: expected a file, found none")

    class FromFile(Config):
        model_config = SettingsConfigDict(toml_file=file)

    culprit = str(file) if file else "configuration"
    try:
        return FromFile(**(flags or {}))
    except ValidationError as error:
        raise ConfigurationError(f"{culprit}: {explain(error, Config)}", reason="INVALID_CONFIG") from error
    except (tomllib.TOMLDecodeError, SettingsError) as error:
        raise ConfigurationError(f"{culprit}: {error}", reason="INVALID_CONFIG") from error


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return a validation error as one phrase a fault: where, what is wrong, what was found."""
    return "; ".join(_explain_fault(fault, model) for fault in error.errors())


def _explain_fault(fault: Any, model: type[BaseModel]) -> str:
    location = fault["loc"]
    where = ".".join(str(part) for part in location)
    if fault["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        guess = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known)) or 'none'}"
        return f"unknown key {where!r}; {guess}"
    found = fault["input"]
    shown = f", found {found!r}" if isinstance(found, str | int | float | bool) else ""
    return f"{where or 'settings'}: {fault['msg'].removeprefix('Value error, ')}{shown}"


def _keys_at(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Return the known keys at a location of nested settings."""
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        current = _model_in(current.model_fields[part].annotation)
        if current is None:
            return []
    return list(current.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the settings model inside an annotation such as `tuple[Model, ...]` or `Model | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in get_args(annotation))
    return next((model for model in found if model is not None), None)


def default_name(backend: str, source: str) -> str:
    """Return a model name for a source: its last part without revision and `.gguf`, or the backend's name."""
    last = source.split("@", 1)[0].rstrip("/").rsplit("/", 1)[-1]
    return last.removesuffix(".gguf") or backend


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches `host`; UNIX sockets count."""
    if host.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

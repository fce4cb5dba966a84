"""Who calls, and what they may do: bearer tokens bound to a tenant, services and models."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from bellhousing.config import AuthConfig, TokenConfig
from bellhousing.errors import PermissionDenied, Unauthenticated

Service = Literal["inference", "discovery", "admin"]
TENANT_KEY = "bellhousing-tenant"
"""Metadata key with which a caller without a token names the tenant it works for."""


class Call(Protocol):
    """The part of a gRPC context that tells who calls."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return the metadata the client sent."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `models` empty means all; an operator may know of every tenant's adapters and the server's files."""

    tenant: str
    models: tuple[str, ...] = ()
    is_operator: bool = False

    @property
    def sees(self) -> str | None:
        """Return the tenant whose adapters the caller may know of; None for those of all."""
        return None if self.is_operator else self.tenant

    def check_model(self, name: str) -> None:
        """Raise `PermissionDenied` when the caller may not use the model."""
        if self.models and name not in self.models:
            raise PermissionDenied(f"this token does not allow model {name!r}", reason="MODEL_NOT_ALLOWED")


class Access:
    """Checks callers against the configured tokens. Without tokens everyone may do everything.

    An operator is who may call Admin; without tokens, who names no tenant.
    """

    def __init__(self, config: AuthConfig) -> None:
        self._tokens: dict[str, TokenConfig] = {token.sha256: token for token in config.tokens}

    def caller(self, call: Call, service: Service) -> Caller:
        """Return who calls. Raises `Unauthenticated` or `PermissionDenied`."""
        metadata = dict(call.invocation_metadata() or ())
        if not self._tokens:
            tenant = _text(metadata.get(TENANT_KEY, ""))[:128]
            return Caller(tenant, is_operator=not tenant)
        scheme, _, secret = _text(metadata.get("authorization", "")).partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise Unauthenticated(
                "this server needs a token; expected metadata `authorization: Bearer TOKEN`, found none"
            )
        # A lookup by digest leaks nothing of the token through its timing.
        token = self._tokens.get(hashlib.sha256(secret.strip().encode()).hexdigest())
        if token is None:
            raise Unauthenticated("the token is not known here")
        if service not in token.services:
            allowed = ", ".join(token.services)
            raise PermissionDenied(f"this token allows {allowed}, not {service}", reason="SERVICE_NOT_ALLOWED")
        return Caller(token.tenant, token.models, is_operator="admin" in token.services)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("ascii", "replace")

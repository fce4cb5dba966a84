"""The options with which every client command reaches a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from bellhousing.client import Client, RetryPolicy, Tls
from bellhousing.client.connection import DEFAULT_ADDRESS
from bellhousing.errors import EngineUnavailable

PANEL = "Connection"
Model = Annotated[str, Option("--model", "-m", help="Model; needed when the server has several.")]


def _option(text: str, *names: str, **settings: Any) -> Any:
    return Option(*names, help=text, rich_help_panel=PANEL, **settings)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where and how to connect: the options of a command, by `spread`."""

    address: Annotated[
        str, _option("Address of the server.", "--server", "-s", envvar="BELLHOUSING_SERVER_ADDRESS", metavar="ADDRESS")
    ] = DEFAULT_ADDRESS
    use_tls: Annotated[bool, _option("Use TLS.", "--tls")] = False
    ca: Annotated[Path | None, _option("Authorities of the server's certificate, PEM; implies --tls.")] = None
    cert: Annotated[Path | None, _option("Client certificate for mTLS, PEM; implies --tls.")] = None
    key: Annotated[Path | None, _option("Key of the client certificate, PEM.")] = None
    token: Annotated[str, _option("Bearer token.", envvar="BELLHOUSING_TOKEN")] = ""
    tenant: Annotated[str, _option("Tenant to work for.", envvar="BELLHOUSING_TENANT")] = ""
    insecure: Annotated[bool, _option("Send a token in plain text.", "--insecure")] = False

    @contextmanager
    def client(self, *, attempts: int = 3) -> Iterator[Client]:
        """Yield a client. Raises `EngineUnavailable` naming the address when no server answers."""
        has_tls = self.use_tls or self.ca or self.cert or self.key
        with Client(
            self.address,
            tls=Tls(self.ca, self.cert, self.key) if has_tls else None,
            token=self.token,
            tenant=self.tenant,
            insecure=self.insecure,
            retry=RetryPolicy(attempts=attempts),
        ) as client:
            try:
                yield client
            except EngineUnavailable as error:
                if error.metadata:  # a server of ours refused
                    raise
                reason = error.message.rpartition(": ")[2] or "no answer"
                raise EngineUnavailable(
                    f"no server can be reached at {self.address} ({reason})",
                    reason="UNREACHABLE",
                    hint="Start one with `bellhousing serve`, or name it with --server ADDRESS.",
                ) from error

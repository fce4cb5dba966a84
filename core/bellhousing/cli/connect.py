"""The options with which every client command reaches a server."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from bellhousing.client import Client, RetryPolicy, Tls
from bellhousing.client.connection import DEFAULT_ADDRESS

Address = Annotated[
    str, typer.Option("--server", "-s", envvar="BELLHOUSING_SERVER_ADDRESS", help="Address of the server, HOST:PORT.")
]
UseTls = Annotated[bool, typer.Option("--tls", help="Use TLS.")]
Ca = Annotated[Path | None, typer.Option("--ca", help="Authorities of the server's certificate, PEM. Implies --tls.")]
Certificate = Annotated[Path | None, typer.Option("--cert", help="Client certificate for mTLS, PEM.")]
Key = Annotated[Path | None, typer.Option("--key", help="Key of the client certificate, PEM.")]
Token = Annotated[str, typer.Option("--token", envvar="BELLHOUSING_TOKEN", help="Bearer token.", show_envvar=True)]
Tenant = Annotated[str, typer.Option("--tenant", envvar="BELLHOUSING_TENANT", help="Tenant to work for.")]
Model = Annotated[str, typer.Option("--model", "-m", help="Model; needed when the server has several.")]


@dataclass(frozen=True, slots=True)
class Connection:
    """Where and how to connect."""

    address: str = DEFAULT_ADDRESS
    use_tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: str = ""
    tenant: str = ""

    def client(self, *, attempts: int = 3) -> Client:
        """Return a client."""
        return Client(
            self.address, tls=self._tls(), token=self.token, tenant=self.tenant, retry=RetryPolicy(attempts=attempts)
        )

    def _tls(self) -> Tls | None:
        return Tls(self.ca, self.certificate, self.key) if self.use_tls or self.ca or self.certificate else None

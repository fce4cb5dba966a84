"""How a client reaches a server: address, TLS, token, tenant."""

from dataclasses import dataclass
from pathlib import Path

import grpc

from bellhousing.access import TENANT_KEY
from bellhousing.config import is_loopback
from bellhousing.errors import ConfigurationError

OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Retries are ours: gRPC's own would not know of partial output or RetryInfo.
    ("grpc.enable_retries", 0),
    ("grpc.keepalive_time_ms", 30_000),
]
DEFAULT_ADDRESS = "127.0.0.1:50051"


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS towards the server; PEM files. Without `ca` the system's authorities are trusted."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Return gRPC's form of them. Raises `ConfigurationError` for a file that cannot be read."""
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.certificate))


def call_metadata(
    address: str, *, token: str, tenant: str, is_encrypted: bool, insecure: bool
) -> list[tuple[str, str]]:
    """Return the metadata of every call. Raises `ConfigurationError` rather than send a token in the clear."""
    metadata = [(TENANT_KEY, tenant)] if tenant else []
    if token:
        host = address if address.startswith("unix:") else address.rsplit(":", 1)[0]
        if not (is_encrypted or insecure or is_loopback(host)):
            raise ConfigurationError(
                f"a token for {address} would travel in plain text: expected tls, or insecure=True"
            )
        metadata.append(("authorization", f"Bearer {token}"))
    return metadata


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"certificate file {str(path)!r}: expected a PEM file, found {error.strerror}"
        ) from error

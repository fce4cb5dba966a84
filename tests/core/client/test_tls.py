"""Certificates on both sides."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from bellhousing import RetryPolicy, Tls
from bellhousing.config import load_config
from bellhousing.errors import ConfigurationError, EngineUnavailable
from bellhousing.plugins import Plugins
from bellhousing.server import Server
from tests.core.client.callers import ALL, Caller

ONCE = RetryPolicy(attempts=1)


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of one authority, and of one that nobody trusts."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    stranger: Path


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates, made for this run."""
    folder = tmp_path_factory.mktemp("pem")
    authority, stranger = trustme.CA(), trustme.CA()

    def written(name: str, write: Callable[[str], None]) -> Path:
        write(str(folder / name))
        return folder / name

    server, client = authority.issue_cert("localhost", "127.0.0.1"), authority.issue_cert("client")
    return Certificates(
        written("ca.pem", authority.cert_pem.write_to_path),
        written("server.pem", server.cert_chain_pems[0].write_to_path),
        written("server.key", server.private_key_pem.write_to_path),
        written("client.pem", client.cert_chain_pems[0].write_to_path),
        written("client.key", client.private_key_pem.write_to_path),
        written("stranger.pem", stranger.cert_pem.write_to_path),
    )


class Running:
    """A server with TLS, for the body of `async with`."""

    def __init__(self, pem: Certificates, **tls: Path) -> None:
        settings: dict[str, Any] = {"certificate": pem.server, "key": pem.server_key, **tls}
        config = {"server": {"port": 0, "tls": settings}, "models": [{"backend": "simulator"}]}
        self._server = Server(load_config(None, config), Plugins())

    async def __aenter__(self) -> str:
        await self._server.start()
        await self._server.wait_serving()
        return self._server.address

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()


@pytest.mark.parametrize("call", ALL)
async def test_a_server_whose_authority_is_trusted_answers(call: Caller, pem: Certificates) -> None:
    async with Running(pem) as address:
        assert await call(address, tls=Tls(ca=pem.authority))


@pytest.mark.parametrize("call", ALL)
async def test_a_server_of_an_unknown_authority_is_refused(call: Caller, pem: Certificates) -> None:
    async with Running(pem) as address:
        with pytest.raises(EngineUnavailable):
            await call(address, tls=Tls(ca=pem.stranger), retry=ONCE)


@pytest.mark.parametrize("call", ALL)
async def test_plain_text_is_refused_by_a_server_with_tls(call: Caller, pem: Certificates) -> None:
    async with Running(pem) as address:
        with pytest.raises(EngineUnavailable):
            await call(address, retry=ONCE)


@pytest.mark.parametrize("call", ALL)
async def test_a_client_without_the_certificate_asked_for_is_refused(call: Caller, pem: Certificates) -> None:
    async with Running(pem, client_ca=pem.authority) as address:
        with pytest.raises(EngineUnavailable):
            await call(address, tls=Tls(ca=pem.authority), retry=ONCE)
        assert await call(address, tls=Tls(pem.authority, pem.client, pem.client_key))


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no\.pem.*expected a PEM file"):
        Tls(ca=tmp_path / "no.pem").credentials()


async def test_a_certificate_of_the_server_that_cannot_be_read_is_named(tmp_path: Path, pem: Certificates) -> None:
    with pytest.raises(ConfigurationError, match=r"no\.pem"):
        async with Running(pem, certificate=tmp_path / "no.pem"):
            pass


async def test_a_certificate_that_is_none_is_refused(tmp_path: Path, pem: Certificates) -> None:
    (tmp_path / "bad.pem").write_text("this is no certificate")
    with pytest.raises(ConfigurationError):
        async with Running(pem, certificate=tmp_path / "bad.pem"):
            pass

"""A real object store on a loopback port, and a connection to it that breaks when a test says so."""

import asyncio
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from bellhousing.process.ports import free_port

BUCKET = "adapters"
START_SECONDS = 60.0
PIECE = 1 << 16


@dataclass(frozen=True)
class Keys:
    """What a client of the store signs its requests with."""

    id: str
    secret: str


@dataclass(frozen=True)
class ObjectStore:
    """A store with one bucket. It knows two users, of whom one may do nothing."""

    port: int
    client: Any = field(repr=False)
    reader: Keys
    stranger: Keys

    def put(self, name: str, body: bytes) -> None:
        """Write an object."""
        self.client.put_object(Bucket=BUCKET, Key=name, Body=body)


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """Run a store for the body, in a process of its own."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, server)
        yield _set_up(port)
    finally:
        server.kill()
        server.wait()


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=5):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the object store did not start within {START_SECONDS} s")


def _set_up(port: int) -> ObjectStore:
    """Make a bucket and two users; from then on the store asks for signatures and looks at what they allow."""
    import boto3

    def client(service: str, keys: Keys) -> Any:
        return boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id=keys.id,
            aws_secret_access_key=keys.secret,
        )

    root = Keys("root", "root")
    users = client("iam", root)
    client("s3", root).create_bucket(Bucket=BUCKET)
    found = []
    for name in ("reader", "stranger"):
        users.create_user(UserName=name)
        made = users.create_access_key(UserName=name)["AccessKey"]
        found.append(Keys(made["AccessKeyId"], made["SecretAccessKey"]))
    policy = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}'
    users.put_user_policy(UserName="reader", PolicyName="all", PolicyDocument=policy)
    url, plain = f"http://127.0.0.1:{port}/moto-api/reset-auth", {"Content-Type": "text/plain"}
    with urllib.request.urlopen(urllib.request.Request(url, b"0", plain), timeout=5):
        reader, stranger = found
        return ObjectStore(port, client("s3", reader), reader, stranger)


def use(port: int, keys: Keys | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have new clients of object stores find one there, with some keys or none, and give up soon."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    told = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    if keys:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret)


@dataclass
class Line:
    """A connection to a store. `cuts` are the next so many large answers that end in their middle."""

    port: int = 0
    cuts: int = 0
    large: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    is_halfway: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def line_to(port: int, *, large: int) -> AsyncIterator[Line]:
    """Forward connections to a port for the body; an answer is `large` from so many bytes on."""
    line = Line(large=large)
    line.gate.set()
    tasks: set[asyncio.Task[None]] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        asking = asyncio.ensure_future(_asked(reader, up_writer))
        try:
            await _answered(up_reader, writer, line)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            asking.cancel()
            writer.transport.abort()
            up_writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()


async def _answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line) -> None:
    """Forward answers. What came in one connection since its last small piece counts as one answer."""
    seen = 0
    while piece := await reader.read(PIECE):
        seen += len(piece)
        if seen >= line.large:
            seen = 0
            if line.cuts:
                line.cuts -= 1
                return
            if not line.gate.is_set():
                line.is_halfway.set()
                await line.gate.wait()
        writer.write(piece)
        await writer.drain()

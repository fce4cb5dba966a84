"""The interface of a client: it sends prepared bytes, stamps what comes, and reads it when the run is over."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

from bellhousing_conformance.load.workload import Planned

CONNECTION = "UNAVAILABLE"
"""The code of an endpoint that cannot be reached or broke off, whatever its protocol calls it."""

TOKEN_VARIABLE = "BELLHOUSING_TOKEN"  # noqa: S105 - the name of a variable
"""Where a sender finds the bearer token: it is in no file and no argument."""

STREAM_FAILED = "STREAM_FAILED"
"""The code of a stream that ended as if it were whole and is not, or that has an error inside."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go. `address` is HOST:PORT, or a URL of an HTTP API. PEM files turn on TLS for the contract."""

    kind: str
    address: str
    model: str = ""
    natural: bool = False
    deadline: float = 60.0
    insecure: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(slots=True)
class Received:
    """One exchange as it came: stamps are `perf_counter_ns`, one for each of `chunks`.

    `code` is set when it has ended.
    """

    sent_ns: int = 0
    end_ns: int = 0
    stamps: list[int] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    code: str = ""
    reason: str = ""

    def failed(self, code: str, reason: str) -> None:
        """Note a failure."""
        self.code, self.reason = code, reason


@dataclass(slots=True)
class Reading:
    """What the bytes of an exchange say.

    `arrivals` has a pair for each message with tokens: its stamp and its tokens. `fault` is what is wrong with a stream
    that seemed to end well, such as the lack of its last message.
    """

    arrivals: list[tuple[int, int]] = field(default_factory=list)
    text: str = ""
    prompt_tokens: int | None = None
    usage_tokens: int | None = None
    queue_ns: int | None = None
    fault: str = ""


class Client(ABC):
    """One endpoint. `open` before and `close` after the run; sends run side by side without a bound."""

    @abstractmethod
    async def open(self) -> None:
        """Connect. Raises `EngineUnavailable` when nobody answers."""

    @abstractmethod
    async def close(self) -> None:
        """Close every connection."""

    @abstractmethod
    def prepared(self, request: Planned, prompt: str) -> bytes:
        """Return the bytes of a request whose whole prompt is `prompt`."""

    @abstractmethod
    async def send(self, prepared: bytes, received: Received) -> None:
        """Send, and fill `received` until the answer ends; a failure is noted in it and raises nothing."""

    @abstractmethod
    def read(self, received: Received) -> Reading:
        """Return what an exchange says. Raises nothing: what cannot be read is a fault."""


def frames(received: Received, separator: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield what stands between separators, each with the stamp of the chunk that completed it."""
    rest = b""
    for stamp, chunk in zip(received.stamps, received.chunks, strict=True):
        *whole, rest = (rest + chunk).split(separator)
        for frame in whole:
            if frame.strip():
                yield stamp, frame
    if rest.strip() and received.stamps:
        yield received.stamps[-1], rest

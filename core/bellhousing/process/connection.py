"""One end of the socket between server and engine process."""

import asyncio
from collections.abc import Callable
from typing import cast

from bellhousing.process import frames


class Connection(asyncio.Protocol):
    """Sends and receives frames. All that is sent in one turn of the event loop leaves in one write.

    `receive` is given all frames that came together, in order.
    Writing never waits: the other side always reads, and what it keeps is bounded by each request's own output.
    """

    def __init__(self, receive: Callable[[list[bytearray]], None], lost: Callable[[], None]) -> None:
        self._receive = receive
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._cutter = frames.FrameCutter()
        self._waiting: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    @property
    def backlog(self) -> int:
        """How many frames wait for the end of this turn of the loop."""
        return len(self._waiting)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._receive(self._cutter.feed(data))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - every end is the same to us
        """Called by the loop."""
        self._transport = None
        self._lost()

    def send(self, frame: frames.Frame) -> None:
        """Send a frame, or nothing once the connection is lost. Raises what encoding raises."""
        body = frames.packed(frames.encode(frame))
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(body)

    def close(self) -> None:
        """Close after sending what waits; `lost` is called later."""
        self._flush()
        if self._transport:
            self._transport.close()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if self._transport and waiting:
            self._transport.write(b"".join(waiting))

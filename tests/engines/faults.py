"""What an engine's HTTP API can do wrong, as changes of an answer that was right.

A frame is one step of bytes: one event of an SSE stream, one line of NDJSON.
"""

from collections.abc import Callable

from tests.engines.server import Answer, Cut, Pause, Steps, whole

Fault = Callable[[Answer], Answer]


def cut(after: int) -> Fault:
    """Close the socket after some frames."""
    return _from(after, Cut())


def silence(after: int) -> Fault:
    """Send nothing more after some frames, and keep the socket open."""
    return _from(after, Pause(None))


def no_end(after: int) -> Fault:
    """End the stream well-formed after some frames, without the frame that says so."""
    return _from(after)


def bad_frame(after: int, frame: bytes) -> Fault:
    """Send `frame` after some frames and end there: an error in a stream that began with 200, or no JSON."""
    return _from(after, frame)


def comments(comment: bytes) -> Fault:
    """Send a keep-alive comment before each frame."""

    async def change(steps: Steps) -> Steps:
        async for step in steps:
            if isinstance(step, bytes):
                yield comment
            yield step

    return lambda answer: answer.changed(change)


def slow_bytes(seconds: float) -> Fault:
    """Send each byte as an HTTP chunk of its own, `seconds` apart: every character and frame is cut."""

    async def change(steps: Steps) -> Steps:
        async for step in steps:
            if not isinstance(step, bytes):
                yield step
                continue
            for place in range(len(step)):
                yield step[place : place + 1]
                yield Pause(seconds)

    return lambda answer: answer.changed(change)


def cut_characters() -> Fault:
    """End an HTTP chunk behind the first byte of each character that has several."""

    async def change(steps: Steps) -> Steps:
        async for step in steps:
            if not isinstance(step, bytes):
                yield step
                continue
            start = 0
            for place, byte in enumerate(step):
                if byte >= 0b1100_0000:
                    yield step[start : place + 1]
                    start = place + 1
            yield step[start:]

    return lambda answer: answer.changed(change)


def joined() -> Fault:
    """Send all frames as one HTTP chunk."""

    async def change(steps: Steps) -> Steps:
        yield b"".join([step async for step in steps if isinstance(step, bytes)])

    return lambda answer: answer.changed(change)


def html(status: int) -> Fault:
    """Answer as a proxy in between does: a page, and the status it chooses."""
    page = b"<html><head><title>Bad Gateway</title></head><body><center>nginx</center></body></html>\n"
    return lambda _answer: whole(page, "text/html", status=status)


def instead(answer: Answer) -> Fault:
    """Give another answer."""
    return lambda _answer: answer


def _from(after: int, *last: bytes | Pause | Cut) -> Fault:
    """Keep the first `after` frames, then take the steps of `last`."""

    async def change(steps: Steps) -> Steps:
        left = after
        async for step in steps:
            if isinstance(step, bytes):
                if not left:
                    break
                left -= 1
            yield step
        for step in last:
            yield step

    return lambda answer: answer.changed(change)

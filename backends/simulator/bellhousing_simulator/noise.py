"""Numbers that look random and depend on a name only: equal on every machine and Python version."""

import hashlib


def noise(name: str, count: int) -> tuple[float, ...]:
    """Return `count` numbers, uniform in [-1, 1), from the SHAKE-256 stream of the name: 64 bits each."""
    stream = hashlib.shake_256(name.encode()).digest(8 * count)
    return tuple([_number(stream[8 * i : 8 * i + 8]) for i in range(count)])


def _number(raw: bytes) -> float:
    return (int.from_bytes(raw, "big") >> 11) * 2.0**-52 - 1.0

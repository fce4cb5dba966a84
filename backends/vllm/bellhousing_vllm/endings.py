"""Why vLLM ended a sequence, in the contract's words, and whether inside a character."""

from bellhousing.errors import EngineFault
from bellhousing.events import FinishReason, length_reason


def finish_reason(found: object, *, is_end: bool, wanted: int | None, room: int, backend: str) -> FinishReason:
    """Return the reason; `is_end` tells whether a stop was the end token. Raises `EngineFault` for another reason."""
    match found:
        case "stop":
            return "eos" if is_end else "unspecified_stop"
        case "length":
            return length_reason(wanted, room)
        case "repetition":
            return "repetition"
        case other:
            raise EngineFault(f"vLLM ended a sequence with {other!r}", backend=backend, engine_code=str(other))


def is_inside_character(end: bytes) -> bool:
    """Tell whether bytes end inside a UTF-8 character: vLLM keeps those of an incomplete one and does not say so."""
    for back, byte in enumerate(reversed(end[-3:]), start=1):
        if byte < 0x80:
            return False
        if byte >= 0xC0:
            return back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)
    return False

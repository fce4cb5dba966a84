"""Why vLLM ended a sequence, in the contract's words, and whether inside a character."""

import codecs

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
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    decoder.decode(end)
    return bool(decoder.getstate()[0])

"""Why vLLM ended a sequence, in the contract's words."""

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

"""The grammar of a generation stream, enforced on every backend: Started, Delta*, Finished, end."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from bellhousing.errors import StreamBroken
from bellhousing.events import Delta, Event, Finished, FinishReason, Started
from bellhousing.requests import GenerationRequest
from bellhousing.sequence import Sequence

State = Literal["opened", "started", "finished"]
"""Where a stream is: nothing came yet, Started came, its end came."""


@dataclass(frozen=True, slots=True)
class SequenceOutcome:
    """How a sequence ended, as the client will hear it."""

    index: int
    reason: FinishReason
    completion_tokens: int
    stop_string: str = ""
    stop_token_id: int | None = None
    cut_character: bool = False


class GenerationStream:
    """One generation as a state machine: takes a backend's events, gives the client's deltas.

    Every method raises `StreamBroken` for an event that is out of order; the stream is of no use afterwards.
    """

    def __init__(self, request: GenerationRequest, backend: str) -> None:
        count = request.sampling.n or 1
        min_tokens = request.sampling.min_tokens or 0
        self.state: State = "opened"
        self.sequences = [Sequence(index, request.stopping, min_tokens) for index in range(count)]
        self._backend = backend
        self._running = count

    def start(self, event: Event) -> Started:
        """Take the first event."""
        if self.state != "opened" or not isinstance(event, Started):
            raise self._broken(f"expected Started first, found {type(event).__name__}")
        self.state = "started"
        return event

    def delta(self, delta: Delta) -> Iterable[Delta]:
        """Take a delta; return what may go to the client now. Text after a matched stop is dropped."""
        if self.state != "started":
            raise self._broken(f"expected {'Started' if self.state == 'opened' else 'the end'}, found Delta")
        if not 0 <= delta.index < len(self.sequences):
            raise self._broken(f"expected a sequence index below {len(self.sequences)}, found {delta.index}")
        if delta.token_ids and len(delta.token_ids) != delta.token_count:
            raise self._broken(f"expected as many ids as tokens, found {len(delta.token_ids)} and {delta.token_count}")
        sequence = self.sequences[delta.index]
        if sequence.has_stopped:
            return ()
        released = sequence.push(delta)
        self._running -= sequence.has_stopped
        return released

    @property
    def all_stopped(self) -> bool:
        """Whether every sequence has matched a stop: the engine's further work is of no use."""
        return self._running == 0

    def finish(self, finished: Finished) -> list[Delta]:
        """Take the engine's end; return the deltas that were still held back."""
        if self.state != "started":
            raise self._broken(f"expected {'Started' if self.state == 'opened' else 'the end'}, found Finished")
        found = sorted(end.index for end in finished.sequences)
        if found != list(range(len(self.sequences))):
            raise self._broken(f"expected one end for each of {len(self.sequences)} sequences, found ends of {found}")
        released = self._release()
        for end in finished.sequences:
            sequence = self.sequences[end.index]
            if not sequence.has_stopped:
                sequence.reason = end.reason
                sequence.cut_character |= end.cut_character
        self.state = "finished"
        return released

    def cut(self, reason: FinishReason) -> list[Delta]:
        """End every sequence that still runs, for a reason of core's own; return the deltas still held back."""
        released = self._release()
        for sequence in self.sequences:
            sequence.reason = sequence.reason or reason
        self.state = "finished"
        return released

    def end(self) -> None:
        """Take the end of the backend's iterator."""
        if self.state != "finished":
            raise self._broken("the engine's stream ended without a Finished")

    def refuse(self, event: Event) -> None:
        """Take an event after the end."""
        raise self._broken(f"expected the end, found {type(event).__name__} after Finished")

    def outcomes(self) -> list[SequenceOutcome]:
        """Return how each sequence ended, by index."""
        return [
            SequenceOutcome(
                s.index, s.reason or "unspecified_stop", s.tokens, s.stop_string, s.stop_token_id, s.cut_character
            )
            for s in self.sequences
        ]

    def _release(self) -> list[Delta]:
        running = [s for s in self.sequences if s.reason is None]
        return [delta for sequence in running for delta in sequence.finish()]

    def _broken(self, what: str) -> StreamBroken:
        return StreamBroken(f"backend {self._backend!r} broke the stream: {what}", backend=self._backend)

"""One sequence of a generation: whole characters, stop strings and stop tokens, the same for every engine.

Matching is defined on the sequence's characters one after the other, so it does not depend on how an engine cuts its
output into tokens: the stop string that is complete first wins, the longest of those that end together.
"""

import codecs
from collections.abc import Iterable
from dataclasses import replace

from bellhousing.events import Delta, FinishReason
from bellhousing.requests import Stopping


class StopMatcher:
    """Finds stop strings in text and tells how much of a text's end may still become one."""

    def __init__(self, strings: tuple[str, ...]) -> None:
        self._strings = strings
        self._characters = frozenset("".join(text[:-1] for text in strings))

    def find(self, text: str) -> tuple[int, str] | None:
        """Return the start and the string of the first match to complete; None without one."""
        best: tuple[int, int, str] | None = None
        for string in self._strings:
            start = text.find(string)
            if start >= 0:
                candidate = (start + len(string), start, string)
                best = candidate if best is None or candidate < best else best
        return (best[1], best[2]) if best else None

    def undecided(self, text: str) -> int:
        """Return the length of the longest end of `text` that is a proper prefix of a stop string."""
        if not text or text[-1] not in self._characters:
            return 0
        longest = 0
        for string in self._strings:
            for length in range(min(len(string) - 1, len(text)), longest, -1):
                if text.endswith(string[:length]):
                    longest = length
                    break
        return longest


class Sequence:
    """Turns an engine's deltas of one sequence into deltas for the client.

    Whole tokens wait while their bytes are no whole character or their text may still become a stop string; then they
    go on with text, ids and log probabilities unchanged. `reason` is set once a stop was matched.
    """

    def __init__(self, index: int, stopping: Stopping, min_tokens: int = 0) -> None:
        self.index = index
        self.tokens = 0
        self.reason: FinishReason | None = None
        self.stop_string = ""
        self.stop_token_id: int | None = None
        self.cut_character = False
        self._min_tokens = min_tokens
        self._matcher = StopMatcher(stopping.strings) if stopping.strings else None
        self._stop_ids = frozenset(stopping.token_ids)
        self._include_stop = stopping.include_stop
        self._decoder: codecs.IncrementalDecoder | None = None
        self._unfinished: list[Delta] = []
        self._held: list[Delta] = []

    @property
    def has_stopped(self) -> bool:
        """Whether a stop was matched."""
        return self.reason is not None

    def push(self, delta: Delta) -> Iterable[Delta]:
        """Take a delta of the engine; return the deltas that may go on now."""
        self.tokens += delta.token_count
        whole = self._whole_characters(delta)
        if whole is None:
            return ()
        if self.tokens >= self._min_tokens:
            if self._stop_ids and not self._stop_ids.isdisjoint(whole.token_ids):
                return self._stopped_by_token(whole)
            if self._matcher:
                return self._scan(whole, self._matcher)
        return (whole,)

    def finish(self) -> Iterable[Delta]:
        """Return what still waits: the engine has ended the sequence and nothing more can match."""
        released = self._held
        self._held = []
        if self._unfinished:
            text = self._decoder.decode(b"", final=True) if self._decoder else ""
            self.cut_character = bool(text)
            released.append(merge([replace(d, text="") for d in self._unfinished]))
            self._unfinished = []
        return released

    def _whole_characters(self, delta: Delta) -> Delta | None:
        """Return the delta with text made of whole characters; None while its last character is incomplete."""
        if isinstance(delta.text, str) and not self._unfinished:
            return delta
        if self._decoder is None:
            self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        raw = delta.text if isinstance(delta.text, bytes) else delta.text.encode()
        text = self._decoder.decode(raw)
        incomplete = bool(self._decoder.getstate()[0])
        if incomplete:
            self._unfinished.append(replace(delta, text=text))
            return None
        waiting, self._unfinished = self._unfinished, []
        return merge([*waiting, replace(delta, text=text)])

    def _scan(self, delta: Delta, matcher: StopMatcher) -> Iterable[Delta]:
        held = [*self._held, delta]
        text = "".join(str(d.text) for d in held)
        match = matcher.find(text)
        if match:
            start, self.stop_string = match
            self.reason = "stop_string"
            self._held = []
            end = start + len(self.stop_string) if self._include_stop else start
            return (replace(merge(held), text=text[:end]),)
        safe = len(text) - matcher.undecided(text)
        released = 0
        for item in held:
            safe -= len(item.text)
            if safe < 0:
                break
            released += 1
        self._held = held[released:]
        return held[:released]

    def _stopped_by_token(self, delta: Delta) -> Iterable[Delta]:
        self.reason = "stop_token"
        self.stop_token_id = next(i for i in delta.token_ids if i in self._stop_ids)
        last = delta if self._include_stop else replace(delta, text="")
        released = [*self._held, last]
        self._held = []
        return released


def merge(deltas: list[Delta]) -> Delta:
    """Return one delta with the text, ids and log probabilities of several of one sequence, in order."""
    if len(deltas) == 1:
        return deltas[0]
    return Delta(
        text="".join([str(d.text) for d in deltas]),
        token_ids=tuple([i for d in deltas for i in d.token_ids]),
        token_count=sum([d.token_count for d in deltas]),
        logprobs=tuple([entry for d in deltas for entry in d.logprobs]),
        index=deltas[0].index,
        prompt_logprobs=tuple([entry for d in deltas for entry in d.prompt_logprobs]),
    )

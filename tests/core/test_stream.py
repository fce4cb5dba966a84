"""The stream's grammar, driven by a state machine that knows what a backend may do."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bellhousing.errors import StreamBroken
from bellhousing.events import Delta, Finished, SequenceEnd, Started
from bellhousing.requests import GenerationRequest, Sampling, Stopping
from bellhousing.stream import GenerationStream

STOP = "ab"


class StreamMachine(RuleBasedStateMachine):
    """Sends every event in every state. The model is a list of what may come; the stream must agree with it."""

    def __init__(self) -> None:
        super().__init__()
        request = GenerationRequest("id", "prompt", Sampling(n=2), Stopping((STOP,)))
        self.stream = GenerationStream(request, "test")
        self.expected = "opened"
        self.sent = ["", ""]
        self.delivered = ["", ""]
        self.tokens = [0, 0]

    def collect(self, deltas: "list[Delta] | tuple[Delta, ...]") -> None:
        for delta in deltas:
            self.delivered[delta.index] += str(delta.text)

    @rule()
    def start(self) -> None:
        if self.expected == "opened":
            self.stream.start(Started())
            self.expected = "started"
        else:
            with pytest.raises(StreamBroken):
                self.stream.start(Started())

    @rule(index=st.integers(0, 1), text=st.text("abc", min_size=1, max_size=3))
    def delta(self, index: int, text: str) -> None:
        delta = Delta(text, (1,), index=index)
        if self.expected != "started":
            with pytest.raises(StreamBroken):
                self.stream.delta(delta)
            return
        if STOP not in self.sent[index]:
            self.sent[index] += text
            self.tokens[index] += 1
        self.collect(tuple(self.stream.delta(delta)))

    @precondition(lambda self: self.expected == "started")
    @rule(index=st.sampled_from([-1, 2, 99]))
    def delta_of_no_sequence(self, index: int) -> None:
        with pytest.raises(StreamBroken):
            self.stream.delta(Delta("a", (1,), index=index))

    @precondition(lambda self: self.expected == "started")
    @rule()
    def delta_with_a_wrong_count(self) -> None:
        with pytest.raises(StreamBroken):
            self.stream.delta(Delta("a", (1, 2), token_count=1))

    @precondition(lambda self: self.expected == "started")
    @rule()
    def finish_without_every_sequence(self) -> None:
        with pytest.raises(StreamBroken):
            self.stream.finish(Finished((SequenceEnd("eos", 0),)))

    @rule()
    def finish(self) -> None:
        finished = Finished((SequenceEnd("eos", 0), SequenceEnd("max_tokens", 1)))
        if self.expected != "started":
            with pytest.raises(StreamBroken):
                self.stream.finish(finished)
            return
        self.collect(self.stream.finish(finished))
        self.expected = "finished"

    @rule()
    def end(self) -> None:
        if self.expected == "finished":
            self.stream.end()
        else:
            with pytest.raises(StreamBroken):
                self.stream.end()

    @invariant()
    def delivered_text_is_the_text_before_the_stop(self) -> None:
        for sent, delivered in zip(self.sent, self.delivered, strict=True):
            whole = sent.split(STOP, 1)[0]
            assert whole.startswith(delivered)
            if self.expected == "finished":
                assert delivered == whole

    @invariant()
    def outcomes_agree_with_what_was_sent(self) -> None:
        if self.expected != "finished":
            return
        for outcome, sent, tokens in zip(self.stream.outcomes(), self.sent, self.tokens, strict=True):
            expected = "stop_string" if STOP in sent else ("eos", "max_tokens")[outcome.index]
            assert (outcome.reason, outcome.completion_tokens) == (expected, tokens)


TestStreamGrammar = StreamMachine.TestCase


@pytest.mark.parametrize(("text", "is_cut"), [("a", True), ("x", False)])
def test_a_character_that_the_engine_says_is_cut_is_flagged_unless_a_stop_came_before(text: str, is_cut: bool) -> None:
    stream = GenerationStream(GenerationRequest("id", "p", Sampling(), Stopping(("x",))), "test")
    stream.start(Started())
    stream.delta(Delta(text, (1,)))
    stream.finish(Finished((SequenceEnd("max_tokens", cut_character=True),)))
    assert [outcome.cut_character for outcome in stream.outcomes()] == [is_cut]


def test_the_time_budget_ends_only_the_sequences_that_still_run() -> None:
    stream = GenerationStream(GenerationRequest("id", "p", Sampling(n=2), Stopping(("x",))), "test")
    stream.start(Started())
    stream.delta(Delta("x", (1,), index=0))
    stream.cut("time_budget")
    assert [outcome.reason for outcome in stream.outcomes()] == ["stop_string", "time_budget"]

"""The model's probabilities."""

import hashlib
import math

import pytest

from bellhousing_simulator.chain import FLAT, PEAK, PEAKED, Chain
from bellhousing_simulator.noise import noise
from bellhousing_simulator.vocabulary import EOS, FIRST_BYTE, STARTERS, VOCABULARY_SIZE, symbol

ROWS = range(EOS + 1)
GOLDEN = (0.5381748645891673, 1.2101070965850063, -2.9752704174642544)


def divergence(first: Chain, second: Chain, previous: int) -> float:
    """Return KL(first || second) of one row, in nats."""
    pairs = zip(first.logprobs(previous), second.logprobs(previous), strict=True)
    return math.fsum(math.exp(p) * (p - q) for p, q in pairs)


def test_noise_is_the_hash_of_its_name() -> None:
    raw = hashlib.shake_256(b"name").digest(8)
    assert noise("name", 1) == ((int.from_bytes(raw, "big") >> 11) / 2**52 - 1,)
    assert noise("name", 3)[:1] == noise("name", 1)
    assert all(-1 <= value < 1 for value in noise("other", 1000))


@pytest.mark.parametrize("end_probability", [0.0, 1e-6, 0.01, 0.5, 0.999])
def test_every_row_sums_to_one_and_ends_with_the_exact_probability(end_probability: float) -> None:
    chain = Chain(3, end_probability)
    for previous in ROWS:
        found = chain.probabilities(previous)
        assert math.fsum(found) == pytest.approx(1, abs=1e-12)
        assert found[EOS] == pytest.approx(end_probability, rel=1e-12)


def test_log_probabilities_are_those_of_the_probabilities() -> None:
    chain = Chain()
    for previous in ROWS:
        found = [math.exp(p) for p in chain.logprobs(previous)]
        assert found == pytest.approx(chain.probabilities(previous), abs=1e-15)


def test_one_row_is_flat_over_what_may_begin_a_character() -> None:
    found = Chain(end_probability=0.02).probabilities(FLAT)
    assert [found[token] for token in STARTERS] == pytest.approx([0.98 / len(STARTERS)] * len(STARTERS))


def test_one_row_is_peaked() -> None:
    found = Chain(end_probability=0.02).probabilities(PEAKED)
    assert found[PEAK] == pytest.approx(0.98 * math.exp(7) / (math.exp(7) + len(STARTERS) - 1))


def test_a_begun_character_is_completed_unless_the_text_ends() -> None:
    chain = Chain(end_probability=0.02)
    assert chain.probabilities(symbol(b"\xf0\x9f"))[symbol(b"\x98")] == pytest.approx(0.98)
    after = chain.probabilities(symbol(b"\x98"))
    assert after[symbol(b"\x80")] + after[symbol(b"\x8e")] == pytest.approx(0.98)


def test_byte_tokens_are_never_written_but_have_a_finite_log_probability() -> None:
    found = Chain().logprobs(symbol("a"))
    assert all(-60 < value < -38 for value in found[FIRST_BYTE:])


def test_the_start_of_a_text_has_a_row_of_its_own() -> None:
    chain = Chain()
    assert chain.logits(None) == chain.logits(EOS)
    assert chain.logits(None) not in [chain.logits(previous) for previous in range(EOS)]


def test_a_byte_token_is_followed_like_the_symbol_it_stands_for() -> None:
    chain = Chain()
    assert chain.logits(FIRST_BYTE + 53) == chain.logits(1)


def test_the_seed_and_nothing_else_chooses_the_model() -> None:
    assert [Chain(5).logits(row) for row in ROWS] == [Chain(5).logits(row) for row in ROWS]
    assert Chain(5).logits(0) != Chain(6).logits(0)
    assert Chain(5).digest != Chain(6).digest != Chain(6, 0.5).digest
    assert Chain(5).digest == Chain(5, adapter_digest="sha256:00").digest


def test_the_probabilities_are_the_same_on_every_machine() -> None:
    # Written down once: a change here changes the model, so `chain.VERSION` must change too.
    found = Chain().logits(symbol("a"))[:3]
    assert found == pytest.approx(GOLDEN, abs=1e-12)


def test_an_adapter_changes_the_rows_by_its_digest() -> None:
    base, one, two = Chain(), Chain(adapter_digest="sha256:01"), Chain(adapter_digest="sha256:02")
    assert min(divergence(one, base, row) for row in range(52)) > 0.05
    assert min(divergence(one, two, row) for row in range(52)) > 0.05
    assert one.logits(0) == Chain(adapter_digest="sha256:01").logits(0)
    assert one.probabilities(0)[EOS] == pytest.approx(0.01)


def test_a_token_s_log_probability_comes_with_its_rank_and_the_best_tokens() -> None:
    chain = Chain()
    found = [chain.token_logprob(0, token, 5) for token in range(VOCABULARY_SIZE)]
    assert sorted(entry.rank or 0 for entry in found) == list(range(1, VOCABULARY_SIZE + 1))
    best = sorted(found, key=lambda entry: entry.rank or 0)[:5]
    assert [top.id for top in found[0].top] == [entry.id for entry in best]
    assert [top.logprob for top in found[0].top] == [entry.logprob for entry in best]
    assert [top.logprob for top in found[0].top] == sorted((top.logprob for top in found[0].top), reverse=True)


def test_all_the_best_tokens_together_have_probability_one() -> None:
    found = Chain().token_logprob(symbol("a"), 0, VOCABULARY_SIZE)
    assert len(found.top) == VOCABULARY_SIZE
    assert math.fsum(math.exp(top.logprob) for top in found.top) == pytest.approx(1)


def test_a_token_without_probability_is_not_among_the_best() -> None:
    found = Chain(end_probability=0.0).token_logprob(symbol("a"), 0, VOCABULARY_SIZE)
    assert EOS not in [top.id for top in found.top]

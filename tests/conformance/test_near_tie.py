import pytest

from bellhousing_conformance.near_tie import first_divergence, is_near_tie


def test_equal_outputs_do_not_part() -> None:
    assert first_divergence([1, 2], [1, 2]) is None


def test_outputs_part_at_the_first_different_token_or_where_one_ends() -> None:
    assert first_divergence([1, 2, 3], [1, 5, 3]) == 1
    assert first_divergence([1, 2], [1, 2, 3]) == 2


def test_only_the_two_best_tokens_make_a_tie() -> None:
    assert is_near_tie([-3.0, -0.70, -0.71], 0.02)
    assert not is_near_tie([-3.0, -0.1, -0.5], 0.02)


def test_one_log_probability_makes_no_tie() -> None:
    with pytest.raises(ValueError, match="at least two"):
        is_near_tie([-0.1], 0.02)

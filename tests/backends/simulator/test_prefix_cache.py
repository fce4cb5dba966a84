"""The simulated prefix cache: whole blocks of what was there, told apart by adapter."""

from bellhousing_simulator.prefix_cache import BLOCK, MOST_BLOCKS, PrefixCache

PROMPT = list(range(3 * BLOCK))


def test_a_new_prompt_is_not_found() -> None:
    assert PrefixCache().take("", PROMPT) == 0


def test_a_prompt_is_found_the_second_time_but_for_its_last_block() -> None:
    cache = PrefixCache()
    cache.take("", PROMPT)
    assert cache.take("", PROMPT) == 2 * BLOCK
    assert (cache.queries, cache.hits) == (6 * BLOCK, 2 * BLOCK)


def test_a_prompt_that_goes_on_differently_is_found_up_to_there() -> None:
    cache = PrefixCache()
    cache.take("", PROMPT)
    assert cache.take("", PROMPT[:BLOCK] + [99] * (2 * BLOCK)) == BLOCK


def test_another_adapter_finds_nothing() -> None:
    cache = PrefixCache()
    cache.take("", PROMPT)
    assert cache.take("mine", PROMPT) == 0


def test_the_oldest_prompt_makes_room() -> None:
    cache = PrefixCache()
    cache.take("", PROMPT)
    cache.take("", [7] * (BLOCK * (MOST_BLOCKS + 1)))
    assert cache.take("", PROMPT) == 0

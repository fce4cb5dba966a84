import pytest

from bellhousing.capabilities import Capabilities, Range, parameters
from bellhousing.requests import Sampling

WIDE = Capabilities(parameters("text", "sampling.top_k"), tokenize=True, adapters="dynamic")


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (WIDE, []),
        (Capabilities(parameters("text", sampling__top_k=Range(1, 100))), []),
        (Capabilities(parameters("text", "chat")), ["chat"]),
        (Capabilities({"sampling.top_k": Range(-1, 100)}), ["sampling.top_k"]),
        (Capabilities({"sampling.top_k": Range(1)}), ["sampling.top_k"]),
        (Capabilities(sleep=True, adapters="derived"), ["sleep", "adapters"]),
        (Capabilities(adapters="static"), []),
    ],
)
def test_what_goes_beyond_others_is_named(found: Capabilities, names: list[str]) -> None:
    assert found.beyond(WIDE) == names


def test_a_list_without_a_limit_exceeds_one_with_a_limit() -> None:
    assert Range().exceeds(Range(max_items=4))
    assert not Range(max_items=3).exceeds(Range(max_items=4))


def test_neutral_values_are_those_of_the_fields_that_are_honoured() -> None:
    names = ("sampling.top_p", "sampling.top_k", "sampling.seed", "sampling.max_tokens")
    assert Capabilities(parameters(*names)).neutral() == Sampling(top_p=1.0, top_k=0)
    assert Capabilities().neutral() == Sampling()

import math
from collections.abc import Sequence
from random import Random

from bellhousing_conformance.checks.sampling import p07_filter_order as p07
from bellhousing_conformance.checks.sampling import p08_unseeded_independence as p08
from bellhousing_conformance.checks.sampling import p09_sequences as p09
from bellhousing_conformance.places import Step, survivors
from bellhousing_conformance.verdict import Row, Status

ALPHA = 0.01
LETTERS = 4


def draws_in_order(order: Sequence[Sequence[Step]]) -> list[Row]:
    """Draws of random distributions, for each pair of steps, filtered in the order given."""
    random, rows = Random(3), list[Row]()
    for pair, steps in zip(p07.PAIRS, order, strict=True):
        power = 1 / dict(steps).get("temperature", 1.0)
        for _ in range(200):
            weights = sorted((random.expovariate(1) ** 2 for _ in range(40)), reverse=True)
            logprobs = [math.log(weight / math.fsum(weights)) for weight in weights]
            left = survivors(logprobs, steps)
            if left is None:
                continue
            rank = random.choices(range(left), [math.exp(value * power) for value in logprobs[:left]])[0]
            rows.append({"kind": "place", "setting": pair.name, "logprobs": logprobs, "ends": [], "rank": rank})
    return rows


def test_p07_the_usual_order_passes() -> None:
    assert p07.judge(draws_in_order([pair.steps for pair in p07.PAIRS]), ALPHA).status is Status.PASS


def test_p07_another_order_is_a_divergence() -> None:
    assert p07.judge(draws_in_order([pair.steps[::-1] for pair in p07.PAIRS]), ALPHA).status is Status.DIVERGENCE


def test_p07_draws_that_no_order_allows_fail() -> None:
    rows = [{**row, "rank": 39} for row in draws_in_order([pair.steps for pair in p07.PAIRS])]
    assert p07.judge(rows, ALPHA).status is Status.FAIL


def test_p07_no_draw_decides_nothing() -> None:
    assert p07.judge([], ALPHA).status is Status.INCONCLUSIVE


def unseeded(ids: Sequence[int]) -> list[Row]:
    random = Random(5)
    model = {"kind": "model", "end": -1e9, "logprobs": [[token, math.log(1 / LETTERS)] for token in range(LETTERS)]}
    return [model, *({"kind": "draw", "id": token, "number": random.random()} for token in ids)]


def test_p08_independent_draws_pass() -> None:
    random = Random(1)
    assert p08.judge(unseeded(random.choices(range(LETTERS), k=400)), ALPHA).status is Status.PASS


def test_p08_draws_that_repeat_the_one_before_fail() -> None:
    random = Random(1)
    twice = [token for _ in range(200) for token in [random.randrange(LETTERS)] * 2]
    assert p08.judge(unseeded(twice), ALPHA).status is Status.FAIL


def test_p08_independent_draws_of_another_model_fail() -> None:
    random = Random(1)
    assert p08.judge(unseeded(random.choices(range(LETTERS), (4, 1, 1, 1), k=400)), ALPHA).status is Status.FAIL


def test_p08_without_a_distribution_nothing_is_decided() -> None:
    assert p08.judge([{"kind": "draw", "id": 1, "number": 0.5}], ALPHA).status is Status.INCONCLUSIVE


def prompts(target: Sequence[float], reference: Sequence[float]) -> list[Row]:
    random = Random(2)

    def side(weights: Sequence[float]) -> list[list[int]]:
        return [random.choices(range(len(weights)), weights, k=6) for _ in range(30)]

    row = {"kind": "prompt", "seed": 1, "from": "the model"}
    return [{**row, "target": side(target), "reference": side(reference)} for _ in range(3)]


def test_p09_sequences_of_one_distribution_pass() -> None:
    assert p09.judge(prompts((1, 1, 1), (1, 1, 1)), ALPHA).status is Status.PASS


def test_p09_sequences_of_another_distribution_fail() -> None:
    assert p09.judge(prompts((4, 1, 1), (1, 1, 4)), ALPHA).status is Status.FAIL


def test_p09_no_prompt_decides_nothing() -> None:
    assert p09.judge([], ALPHA).status is Status.INCONCLUSIVE

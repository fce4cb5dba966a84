import pytest

from tests.backends.peft import halves
from tools.adapter_capacity import DOCUMENT, SHAPES, Shape, adapter_bytes, document


def test_the_committed_table_is_what_the_formula_gives() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert document(text) == text


def test_a_document_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"adapters\.md: expected the lines"):
        document("# Adapters\n")


def test_an_adapter_is_as_large_as_the_matrices_that_it_has() -> None:
    shape = Shape("square", 2, 64, 4, 4, 16, 128, 1000, has_vocabulary=False)
    tensors = [(halves(2, 64, rank=8, module=f"self_attn.{name}_proj")) for name in "qkvo"]
    parameters = sum(rows * columns for module in tensors for rows, columns in module.values())
    assert adapter_bytes(shape.attention(), 8) == 2 * parameters
    assert shape.linear() == shape.attention() + 2 * 3 * (64 + 128)


def test_a_place_has_room_for_every_linear_layer_and_where_vllm_has_it_for_the_vocabulary() -> None:
    for shape in SHAPES:
        more = 2 * (shape.vocabulary + shape.hidden) if shape.has_vocabulary else 0
        assert shape.place() == shape.linear() + more

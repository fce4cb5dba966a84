import tomllib

from hypothesis import given
from hypothesis import strategies as st

from bellhousing.toml import toml_table

text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    text | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(text, values, max_size=4))
def test_what_is_written_is_what_toml_reads(table: dict[str, object]) -> None:
    assert tomllib.loads(toml_table("[t]", table)) == {"t": table}

from bellhousing_prometheus.labels import OTHER, BoundedLabel


def test_a_name_past_the_limit_shares_a_value_and_a_known_one_keeps_its_own() -> None:
    label = BoundedLabel(2)
    assert [label.value(name) for name in ("a", "b", "c", "a", "d", "b")] == ["a", "b", OTHER, "a", OTHER, "b"]


def test_no_name_needs_no_place() -> None:
    label = BoundedLabel(1)
    assert [label.value(name) for name in ("", "a", "b", "")] == ["", "a", OTHER, ""]


def test_a_limit_of_none_leaves_only_the_shared_value() -> None:
    assert BoundedLabel(0).value("a") == OTHER

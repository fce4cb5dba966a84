"""Labels of a bounded number of values: every value is a time series that Prometheus keeps."""

OTHER = "other"
"""The value that all names share which came after the limit was reached."""


class BoundedLabel:
    """The first `limit` names keep their own value for good; later ones are `OTHER`. No name is the empty value."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known = {""}

    def value(self, name: str) -> str:
        """Return the label's value for a name."""
        if name in self._known:
            return name
        if len(self._known) > self._limit:
            return OTHER
        self._known.add(name)
        return name

"""What saboteurs do to the metrics of a target: the text is changed line by line."""

from collections.abc import Callable

from bellhousing_conformance.targets.hooks import HookName


def changed(name: HookName, answer: str, metric: str, change: Callable[[float], float], *, having: str = "") -> str:
    """Return the answer of the hook `metrics` with the values of a metric changed; those of other hooks as they are.

    Only samples whose labels contain `having` are.
    """
    if name != "metrics":
        return answer

    def of(line: str) -> str:
        head, _, value = line.rpartition(" ")
        return f"{head} {change(float(value))}" if head.startswith(f"{metric}{{") and having in head else line

    return "\n".join([of(line) for line in answer.split("\n")])

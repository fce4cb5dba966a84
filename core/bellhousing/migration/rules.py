"""Rules: what becomes of one flag or variable, as tables of a backend hold them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bellhousing.migration.findings import Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """The settings that a value leads to, by path, and what is to be said of them.

    A path is one of the model, such as `batching.max_sequences` or `options.dtype`, or begins with `server.` or
    `auth.`.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    verdict: Verdict = "kept"
    reason: str = ""


Rule = Callable[[str], Outcome]
"""Takes a value as it was given; switches have `true` and `false`. Raises `ValueError` for a value that is none."""


def to(path: str, parse: Callable[[str], Any] = str, reason: str = "") -> Rule:
    """Return a rule that puts the parsed value at `path`; with a reason it counts as changed."""

    def apply(value: str) -> Outcome:
        return Outcome({path: parse(value)}, "changed" if reason else "kept", reason)

    return apply


def already(reason: str, *values: str, otherwise: str = "") -> Rule:
    """Return a rule for what holds here without a setting: for these values, or for any when none is named."""

    def apply(value: str) -> Outcome:
        if not values or value in values:
            return Outcome(reason=reason)
        return Outcome(verdict="lost", reason=otherwise or reason)

    return apply


def fixed(outcome: Outcome) -> Rule:
    """Return a rule whose outcome does not depend on the value."""
    return lambda _value: outcome


def lost(reason: str) -> Rule:
    """Return a rule for what cannot be kept."""
    return fixed(Outcome(verdict="lost", reason=reason))


def stays(reason: str = "") -> Rule:
    """Return a rule for a variable that has its effect here by itself, if `bellhousing serve` has it too."""
    told = "keep it in the environment of `bellhousing serve`"
    return fixed(Outcome(verdict="changed", reason=f"{reason}: {told}" if reason else told))


def flag(value: str) -> bool:
    """Return a switch as a truth value. Raises `ValueError` for anything but yes and no."""
    known = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if value.lower() not in known:
        raise ValueError(f"expected true or false, found {value!r}")
    return known[value.lower()]

"""The switch of a defective backend, and what it puts between the backend and its engine."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Fields = dict[str, Any]
Spoil = Callable[[Fields], object]
"""Spoils what a backend would tell its engine, in place."""


def defect_of(switch: Path) -> str:
    """Return the defect in force, empty for none."""
    return switch.read_text(encoding="utf-8").strip()


def spoiling(module: object, name: str, defects: Mapping[str, Spoil], switch: Path) -> None:
    """Let a defect in force spoil what a function of a backend's module returns, in this process and for good.

    The process is the engine's own: each of these backends has one.
    """
    mapping: Callable[..., Fields] = getattr(module, name)

    def spoilt(*arguments: Any, **more: Any) -> Fields:
        fields = mapping(*arguments, **more)
        spoil = defects.get(defect_of(switch))
        if spoil is not None:
            spoil(fields)
        return fields

    setattr(module, name, spoilt)

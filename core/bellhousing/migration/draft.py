"""A configuration in the making: settings with where they came from, tried one after another."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from bellhousing.backend import Backend
from bellhousing.config import AuthConfig, ModelConfig, ServerConfig, explain
from bellhousing.migration.findings import Finding, shown
from bellhousing.migration.launch import unresolved
from bellhousing.migration.rules import Outcome, Rule
from bellhousing.toml import toml_table, toml_value

SECTIONS: Mapping[str, type[BaseModel]] = {"server": ServerConfig, "auth": AuthConfig}
"""The tables of the file beside the model's."""


@dataclass(frozen=True, slots=True)
class Migration:
    """The outcome: the tables of `bellhousing.toml`, all valid, and what became of each thing that was given."""

    tables: Mapping[str, Mapping[str, Any]]
    findings: tuple[Finding, ...]

    @property
    def is_complete(self) -> bool:
        """Tell whether everything has its effect here."""
        return all(finding.is_kept for finding in self.findings)

    def toml(self) -> str:
        """Return the file."""
        parts = []
        if "server" in self.tables:
            parts.append(toml_table("[server]", self.tables["server"]))
        tokens = self.tables.get("auth", {}).get("tokens", ())
        parts += [toml_table("[[auth.tokens]]", token) for token in tokens]
        parts.append(toml_table("[[models]]", self.tables["model"]))
        return "\n\n".join(parts) + "\n"


class Draft:
    """Collects settings and findings; a setting that would make the configuration invalid is reported as lost.

    Settings are tried in the order in which they come, so of two that contradict each other the first one stays.
    """

    def __init__(self, backend: type[Backend]) -> None:
        self._backend = backend
        self._findings: list[Finding] = []
        self._tables: dict[str, dict[str, Any]] = {"model": {"backend": backend.name}}

    def note(self, finding: Finding) -> None:
        """Report something that leads to no setting."""
        self._findings.append(finding)

    def take(self, name: str, value: str, rule: Rule, *, separator: str = " ") -> None:
        """Apply a rule to a flag or variable and report what became of it."""
        source, missing = shown(name, value, separator), unresolved(value)
        unknown = Outcome(
            verdict="lost", reason=f"the value of ${missing} is not known: give {missing}=VALUE as another source"
        )
        try:
            outcome = rule(value)
        except ValueError as error:
            # Only our own rules' words are shown: a parser's would repeat the value, which may be a secret.
            outcome = Outcome(verdict="lost", reason=f"not a value that can be read: {_told(error)}")
            outcome = unknown if missing else outcome
        if missing and outcome.settings:
            outcome = unknown
        self.add(source, outcome)

    def add(self, source: str, outcome: Outcome) -> None:
        """Put settings in place and report them."""
        fault = self._fault(outcome.settings)
        if fault:
            self.note(Finding(source, "lost", reason=f"not possible here: {fault}"))
            return
        for path, value in outcome.settings.items():
            self._set(self._tables, path, value)
        becomes = ", ".join(f"{path} = {toml_value(value)}" for path, value in outcome.settings.items())
        self.note(Finding(source, outcome.verdict, becomes, outcome.reason))

    def setting(self, path: str) -> Any:
        """Return what is set at a path; None where nothing is."""
        found: Any = self._tables
        for key in _keys(path):
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    def finished(self) -> Migration:
        """Return the outcome. A missing model is a finding of its own."""
        if self._backend.needs_model and "model" not in self._tables["model"]:
            self.note(Finding("(model)", "lost", reason="the launch names no model: set `model` in the file"))
        return Migration({name: dict(table) for name, table in self._tables.items()}, tuple(self._findings))

    def _fault(self, settings: Mapping[str, Any]) -> str:
        """Return why the configuration would not be valid with these settings; empty when it would."""
        tables = _copied(self._tables)
        for path, value in settings.items():
            if not self._set(tables, path, value):
                return f"{path}: expected once, found again"
        try:
            for name, section in SECTIONS.items():
                section.model_validate(tables.get(name, {}))
            options = ModelConfig.model_validate(tables["model"]).options
        except ValidationError as error:
            return explain(error, ModelConfig)
        try:
            self._backend.Options.model_validate(options)
        except ValidationError as error:
            return explain(error, self._backend.Options)
        return ""

    @staticmethod
    def _set(tables: dict[str, Any], path: str, value: Any) -> bool:
        """Set a value; return False where another one is set."""
        *parents, name = _keys(path)
        for parent in parents:
            tables = tables.setdefault(parent, {})
        is_free = bool(tables.get(name, value) == value)
        tables[name] = value
        return is_free


def _keys(path: str) -> list[str]:
    keys = path.split(".")
    return keys if keys[0] in SECTIONS else ["model", *keys]


def _copied(value: Any) -> Any:
    return {key: _copied(item) for key, item in value.items()} if isinstance(value, dict) else value


def _told(error: ValueError) -> str:
    message = str(error)
    return message if message.startswith("expected ") else "expected another one"

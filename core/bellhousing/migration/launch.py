"""What is given to `bellhousing migrate`: shell lines, words of a command, environments, files."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bellhousing.errors import ConfigurationError
from bellhousing.migration.container import contained
from bellhousing.migration.findings import Finding

ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
VARIABLE = re.compile(r"\$\{?([A-Z_][A-Z0-9_]*)\}?")
REDIRECT = re.compile(r"(?:\d|&)?(?:>>?|<)(?:&\d?)?(.*)", re.DOTALL)
SEPARATORS = frozenset({";", "&&", "||", "|", "&"})
WRAPPERS = frozenset({"sudo", "exec", "nohup", "env", "time", "export"})
"""Words before a command that change nothing of what it serves."""


@dataclass(frozen=True, slots=True)
class Command:
    """The words of a command, without wrappers.

    Inside a container `image` names its image, whose program may be left out of the words; `mounts` are the host's
    paths by the container's.
    """

    words: tuple[str, ...]
    image: str = ""
    mounts: Mapping[str, str] = field(default_factory=dict)

    def host_path(self, path: str) -> str:
        """Return the path on the host of a path in the container; the same one where nothing is mounted."""
        for inside, outside in self.mounts.items():
            if path == inside or path.startswith(inside.rstrip("/") + "/"):
                return outside + path[len(inside.rstrip("/")) :]
        return path


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that was given.

    `notes` are what is the shell's or the container's and no setting of the server; `used` names the variables whose
    values were put into commands.
    """

    commands: tuple[Command, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    documents: tuple[str, ...] = ()
    notes: tuple[Finding, ...] = ()
    used: frozenset[str] = frozenset()


def unresolved(value: str) -> str:
    """Return the first variable of the shell in a text, such as `HOME` in `$HOME/models`; empty when there is none."""
    found = VARIABLE.search(value)
    return found[1] if found else ""


def read_launch(sources: Sequence[str], is_document: Callable[[str], bool], stdin: Callable[[], str]) -> Launch:
    """Return what the sources say together.

    A source is a file, `-` for standard input, `KEY=VALUE`, or a command as one text or as words. Raises
    `ConfigurationError` for a file that cannot be read, or a text that no shell could.
    """
    reading = _Reading(is_document)
    words: list[str] = []
    for source in sources:
        if not words and source == "-":
            reading.text(stdin())
        elif not words and _is_file(source):
            reading.text(_content(source))
        elif not words and (ASSIGNMENT.fullmatch(source) or any(c.isspace() for c in source)):
            reading.text(source)
        else:
            words.append(source)
    if words:
        reading.command(words)
    return reading.launch()


class _Reading:
    """Collects a launch. Variables are replaced once everything was read, since any source may set them."""

    def __init__(self, is_document: Callable[[str], bool]) -> None:
        self._is_document = is_document
        self._commands: list[Command] = []
        self._environment: dict[str, str] = {}
        self._documents: list[str] = []
        self._notes: list[Finding] = []
        self._used: set[str] = set()

    def text(self, text: str) -> None:
        if self._is_document(text):
            self._documents.append(text)
            return
        lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        if len(lines) > 1 and all(ASSIGNMENT.fullmatch(line) for line in lines):
            for line in lines:  # a file of variables, whose values need no quotes
                name, _, value = line.partition("=")
                self._environment[name] = _unquoted(value)
            return
        for words in _commands("\n".join(lines)):
            self.command(words)

    def command(self, words: Sequence[str]) -> None:
        left = list(self._without_redirects(words))
        while left and (left[0] in WRAPPERS or ASSIGNMENT.fullmatch(left[0])):
            found = ASSIGNMENT.fullmatch(left.pop(0))
            if found:
                self._environment[found[1]] = found[2]
        if not left:
            return
        container = contained(left)
        if container is None:
            self._commands.append(Command(tuple(left)))
            return
        self._environment |= container.environment
        self._notes += container.notes
        self._commands.append(Command(container.words, container.image, container.mounts))

    def launch(self) -> Launch:
        commands = tuple(
            Command(
                tuple(self._resolved(word) for word in command.words),
                self._resolved(command.image),
                {inside: self._resolved(outside) for inside, outside in command.mounts.items()},
            )
            for command in self._commands
        )
        environment = {name: self._resolved(value) for name, value in self._environment.items()}
        return Launch(commands, environment, tuple(self._documents), tuple(self._notes), frozenset(self._used))

    def _resolved(self, text: str) -> str:
        self._used.update(VARIABLE.findall(text))
        return VARIABLE.sub(lambda found: self._environment.get(found[1], found[0]), text)

    def _without_redirects(self, words: Sequence[str]) -> Iterator[str]:
        rest = iter(words)
        for word in rest:
            redirect = REDIRECT.fullmatch(word)
            if redirect is None:
                yield word
                continue
            target = redirect[1] or ("" if "&" in word[1:] else next(rest, ""))
            said = word if redirect[1] else f"{word} {target}".rstrip()
            self._notes.append(Finding(said, "lost", reason="the shell's: the server logs on standard error"))


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of shell lines, as words."""
    for line in text.splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise ConfigurationError(f"SOURCE: expected a command as a shell reads it, found {error}") from error
        command: list[str] = []
        for word in words:
            if word in SEPARATORS:
                yield command
                command = []
            elif word.endswith(";"):
                yield [*command, word[:-1]]
                command = []
            else:
                command.append(word)
        yield command


def _is_file(source: str) -> bool:
    try:
        return Path(source).is_file()
    except OSError:  # a whole command is longer than a name may be
        return False


def _content(source: str) -> str:
    try:
        return Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"SOURCE {source!r}: expected a text file, found {error}") from error


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value

"""Reads `vllm serve`, `python -m vllm.entrypoints.openai.api_server` and the containers of either."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import PurePosixPath

from bellhousing.migration import (
    Command,
    Draft,
    Finding,
    Flag,
    Launch,
    Origin,
    Outcome,
    Rule,
    Shape,
    fixed,
    lost,
    split,
    stays,
    to,
)
from bellhousing.migration.conversions import HUB_NAME, bearer_tokens, host, model_source
from bellhousing.migration.findings import shown
from bellhousing_vllm.errors import NAME
from bellhousing_vllm.migration.rules import (
    ALIASES,
    COMBINED,
    PASSED_ON,
    SINGLE,
    SWITCHES,
    VARIABLES,
    without_setting,
)
from bellhousing_vllm.migration.values import nested

SERVER_MODULE = "vllm.entrypoints.openai.api_server"
DOTTED = re.compile(r"(--[^.]+)\.(.+)")


@cache
def shapes() -> dict[str, Shape]:
    """Return how many words each flag of vLLM takes, by its long name."""
    _, others = without_setting()
    return {
        **dict.fromkeys(SWITCHES, "switch"),
        **dict.fromkeys(SINGLE, "one"),
        **COMBINED,
        **others,
        "--help": "switch",
    }


def read(launch: Launch, draft: Draft) -> None:
    """Put a launch into the draft."""
    arguments = [(command, found) for command in launch.commands if (found := _arguments(command)) is not None]
    for command in launch.commands:
        if _arguments(command) is None:
            draft.note(
                Finding(command.words[0] if command.words else command.image, "unknown", reason="no command of vLLM")
            )
    for place, (command, words) in enumerate(arguments):
        if place:
            draft.note(Finding("a second vllm serve", "lost", reason="migrate each server by itself"))
            break
        _Flags(command, words).into(draft)
    for name, value in launch.environment.items():
        if name == "VLLM_API_KEY":
            _api_keys(draft, name, [value], separator="=")
        else:
            draft.take(name, value, _variable(name, launch), separator="=")


def _arguments(command: Command) -> Sequence[str] | None:
    """Return the words after vLLM's command; None for another program."""
    words = list(command.words)
    program = PurePosixPath(words[0]).name if words else ""
    if program == "vllm" and words[1:2] == ["serve"]:
        return words[2:]
    if program.startswith("python") and SERVER_MODULE in words:
        return words[words.index(SERVER_MODULE) + 1 :]
    if "vllm" in command.image and (not words or words[0].startswith("-") or HUB_NAME.fullmatch(words[0])):
        return words
    return None


def _variable(name: str, launch: Launch) -> Rule:
    if name in VARIABLES:
        return VARIABLES[name]
    if name.startswith(PASSED_ON):
        return stays("vLLM or a library of it reads it")
    if name in launch.used:
        return fixed(Outcome(reason="used in the command"))
    return fixed(Outcome(verdict="unknown", reason="no variable of vLLM"))


class _Flags:
    """The flags of one command by their long names; what means something only together is put together."""

    def __init__(self, command: Command, words: Sequence[str]) -> None:
        self._command = command
        flags = list(_named(split([_long(word) for word in words], _shape)))
        last = {_positive(flag.name): place for place, flag in enumerate(flags) if flag.name}
        self._flags = [flag for place, flag in enumerate(flags) if last.get(_positive(flag.name), place) == place]
        self._overridden = [flag for place, flag in enumerate(flags) if last.get(_positive(flag.name), place) != place]

    def into(self, draft: Draft) -> None:
        for flag in self._overridden:
            draft.note(Finding(shown(flag.name, flag.value), "kept", reason="given again: the last one counts"))
        self._model(draft)
        self._adapters(draft)
        self._certificate(draft)
        rules = {**SWITCHES, **SINGLE, **without_setting()[0]}
        for flag in self._flags:
            if _positive(flag.name) in COMBINED or not flag.name:
                continue
            self._one(draft, flag, rules)
        for flag in self._all("--host"):
            draft.take("--host", flag.value, host)
        for flag in self._all("--api-key"):
            _api_keys(draft, "--api-key", flag.values)
        for flag in self._all("--hf-token"):
            draft.take("--hf-token", flag.value, lost("set HF_TOKEN in the environment of `bellhousing serve`"))

    def _one(self, draft: Draft, flag: Flag, rules: dict[str, Rule]) -> None:
        positive = _positive(flag.name)
        dotted = DOTTED.fullmatch(flag.name)
        if dotted and dotted[1] == "--speculative-config":
            draft.take(flag.name, flag.value, lambda text: _speculative(dotted[2], text))
        elif dotted and dotted[1] in rules:
            draft.take(flag.name, flag.value, rules[dotted[1]])
        elif shapes().get(positive) == "switch" and positive in rules:
            value = "false" if positive != flag.name else "true"
            draft.add(flag.name, rules[positive](value))
        elif flag.name in rules:
            draft.take(flag.name, flag.value, rules[flag.name])
        else:
            draft.note(Finding(flag.name, "unknown", reason="no flag of vLLM 0.32 for serving"))

    def _all(self, name: str) -> list[Flag]:
        return [flag for flag in self._flags if flag.name == name]

    def _value(self, name: str) -> str:
        return next((flag.value for flag in self._all(name)), "")

    def _model(self, draft: Draft) -> None:
        words = [flag.value for flag in self._all("")]
        given = {"model": words[:1], "--model": [flag.value for flag in self._all("--model")]}
        models = [*given["model"], *given["--model"]]
        revision = self._value("--revision")
        if words[1:]:
            draft.note(Finding(f"{len(words) - 1} more words", "unknown", reason="vllm serve takes one model"))
        for name, texts in given.items():
            for model in texts:
                draft.take(name, model, model_source(self._command.host_path, revision))
        if revision:
            is_in_source = str(draft.setting("model")).startswith("hf://")
            draft.take(
                "--revision", revision, fixed(Outcome(reason="in the model")) if is_in_source else lost("no hub model")
            )
        for flag in self._all("--tokenizer"):
            outcome = Outcome(verdict="kept" if flag.value in models else "lost", reason="the model's own is used")
            draft.take("--tokenizer", flag.value, fixed(outcome))
        for place, name in enumerate(name for flag in self._all("--served-model-name") for name in flag.values):
            draft.take("--served-model-name", name, lost("a model has one name") if place else to("name"))

    def _adapters(self, draft: Draft) -> None:
        enabled, most = self._all("--enable-lora"), self._all("--max-loras")
        for flag in self._all("--no-enable-lora"):
            draft.add(flag.name, Outcome(reason="off unless it is set"))
        for _ in enabled[:1]:
            draft.add("--enable-lora", Outcome({} if most else {"options.lora.max_loras": 1}))
        for flag in most:
            rule = to("options.lora.max_loras", int) if enabled else lost("without --enable-lora it says nothing")
            draft.take("--max-loras", flag.value, rule)
        modules = [module for flag in self._all("--lora-modules") for module in flag.values]
        places = [PurePosixPath(self._command.host_path(module.partition("=")[2])) for module in modules]
        roots = {"adapter_roots": sorted({str(place.parent) for place in places if place.is_absolute()})}
        for module, place in zip(modules, places, strict=True):
            told = "its directory is allowed: register it by Admin.RegisterAdapter"
            is_whole = place.is_absolute()
            rule = fixed(Outcome(roots, "changed", told)) if is_whole else lost("expected NAME=PATH, the path absolute")
            draft.take("--lora-modules", module, rule)

    def _certificate(self, draft: Draft) -> None:
        key, certificate = self._value("--ssl-keyfile"), self._value("--ssl-certfile")
        rule = lost("TLS needs both a key and a certificate")
        if key and certificate:
            rule = fixed(Outcome({"server.tls.key": key, "server.tls.certificate": certificate}))
        for name in ("--ssl-keyfile", "--ssl-certfile"):
            for flag in self._all(name):
                draft.take(name, flag.value, rule)


def _speculative(path: str, text: str) -> Outcome:
    ((key, value),) = nested(path, text).items()
    return Outcome({f"options.speculative.{key}": value})


def _api_keys(draft: Draft, name: str, keys: Sequence[str], separator: str = " ") -> None:
    """Keep the keys of clients; the flag's go over the variable's."""
    is_set = draft.setting("auth.tokens") is not None
    rule = fixed(Outcome(reason="--api-key counts, as in vLLM")) if is_set else bearer_tokens(keys)
    draft.take(name, " ".join(keys), rule, separator=separator)


def _named(flags: Iterator[Flag]) -> Iterator[Flag]:
    for flag in flags:
        yield Flag(_full(flag.name), flag.values) if flag.name else flag


def _long(word: str) -> str:
    """Return a word as vLLM reads it: dashes for underscores in a flag's name, up to the first dot."""
    if not word.startswith("--"):
        return word
    name, separator, value = word.partition("=")
    head, dot, tail = name.partition(".")
    return "--" + head[2:].replace("_", "-") + dot + tail + separator + value


def _full(name: str) -> str:
    """Return the long name of an alias or of an unambiguous beginning; other names as they are."""
    name = ALIASES.get(name, name)
    if name in shapes() or "." in name or not name.startswith("--"):
        return name
    candidates = [known for known in (*shapes(), *ALIASES) if known.startswith(name)]
    return candidates[0] if len(candidates) == 1 else name


def _positive(name: str) -> str:
    """Return the switch that a name such as `--no-enforce-eager` negates; other names as they are."""
    return "--" + name.removeprefix("--no-") if name.startswith("--no-") else name


def _shape(name: str) -> Shape | None:
    full = _full(name)
    if shapes().get(_positive(full)) == "switch":
        return "switch"
    return "one" if DOTTED.fullmatch(full) else shapes().get(full)


ORIGIN = Origin(
    name="vllm",
    backend=NAME,
    reads="a `vllm serve` or `docker run vllm/vllm-openai` command, and variables of its environment",
    read=read,
)

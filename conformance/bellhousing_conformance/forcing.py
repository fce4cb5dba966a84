"""Requests whose output is known beforehand, by whatever the target declares that can force one."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.probe import Probe

BIAS = 100.0
"""Added to the logit of one token it outweighs everything that a model prefers."""

LONGEST = 96
"""Tokens that are enough for a dictated text."""

EXACT = ("structured_output.choice", "structured_output.regex")
CONSTRAINTS = (*EXACT, "structured_output.json_schema")
"""What can force a text, as capabilities; the first that the target declares is used."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Forced:
    """A request, and a test of the text that it may produce."""

    request: pb.GenerateRequest
    word: str
    is_right: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Dictation:
    """A request. `is_exact` tells that its output is the text itself, if the target keeps its word."""

    request: pb.GenerateRequest
    is_exact: bool


def dictation(probe: Probe, text: str) -> Dictation:
    """Return a request for a text, by what the target declares that can force one.

    A schema puts quotes around it. Without any constraint the target is asked in words, and writes what it likes.
    """
    request = probe.request(f"{text}\n{text}\n{text}\n", max_tokens=LONGEST)
    if probe.supports("sampling.temperature"):
        request.sampling.temperature = 0.0
    path = _constraint(probe)
    if path:
        _constrain(request, path, text)
    return Dictation(request, path in EXACT)


def is_same_text(text: str, decoded: str) -> bool:
    """Tell whether two decodings agree; one may begin with the space that tokenizers strip from a text's beginning."""
    return text in (decoded, f" {decoded}") or decoded == f" {text}"


async def forced(probe: Probe, count: int, tokens: int) -> list[Forced]:
    """Return requests, each forced to another output; none where the target declares nothing that forces one.

    With `logit_bias` each repeats a letter, or two in turn when there are more requests than letters.
    """
    if probe.allows("sampling.logit_bias", BIAS, entries=2) and probe.supports("tokenize", "token_ids"):
        return await _biased(probe, count, tokens)
    path = _constraint(probe)
    if path is None:
        return []
    words = probe.random.sample([a + b + c for a in LETTERS for b in LETTERS for c in LETTERS], count)
    return [_constrained(probe, path, word) for word in words]


async def _biased(probe: Probe, count: int, tokens: int) -> list[Forced]:
    ids = {letter: await probe.tokenize(letter, add_special=False) for letter in LETTERS}
    single = [(letter, found[-1]) for letter, found in ids.items() if len(found) == 1]
    pairs = [(a, b) for a in single for b in single if a <= b]
    made = []
    for first, second in probe.random.sample(pairs, min(count, len(pairs))):
        request = probe.request(max_tokens=tokens, logit_bias={first[1]: BIAS, second[1]: BIAS})
        if probe.supports("sampling.ignore_eos"):
            request.sampling.ignore_eos = True
        letters = {first[0], second[0]}
        made.append(Forced(request, "".join(sorted(letters)), lambda text, own=letters: set(text) <= own))  # type: ignore[misc] # bound at once
    return made


def _constrained(probe: Probe, path: str, word: str) -> Forced:
    request = probe.request(max_tokens=32)
    _constrain(request, path, word)
    return Forced(request, word, lambda text: text.strip().strip('"') == word)


def _constraint(probe: Probe) -> str | None:
    return next((path for path in CONSTRAINTS if probe.supports(path)), None)


def _constrain(request: pb.GenerateRequest, path: str, word: str) -> None:
    if path == "structured_output.choice":
        request.structured_output.choice.options.append(word)
    elif path == "structured_output.regex":
        request.structured_output.regex = re.escape(word)
    else:
        request.structured_output.json_schema = json.dumps({"const": word})

"""Requests that make the target write a text that is known beforehand."""

import json
import re
from dataclasses import dataclass

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.probe import Probe

LONGEST = 96
"""Tokens that are enough for a dictated text."""


@dataclass(frozen=True, slots=True)
class Dictation:
    """A request. `is_exact` tells that its output is the text itself, if the target keeps its word."""

    request: pb.GenerateRequest
    is_exact: bool


def dictation(probe: Probe, text: str) -> Dictation:
    """Return a request for a text, by the first of choice, regex and JSON Schema that the target declares.

    A schema puts quotes around it. Without any of them the target is asked in words, and writes what it likes.
    """
    request = probe.request(f"{text}\n{text}\n{text}\n", max_tokens=LONGEST)
    if probe.supports("sampling.temperature"):
        request.sampling.temperature = 0.0
    form = request.structured_output
    if probe.supports("structured_output.choice"):
        form.choice.options.append(text)
    elif probe.supports("structured_output.regex"):
        form.regex = re.escape(text)
    elif probe.supports("structured_output.json_schema"):
        form.json_schema = json.dumps({"const": text})
    return Dictation(request, form.WhichOneof("kind") in ("choice", "regex"))


def is_same_text(text: str, decoded: str) -> bool:
    """Tell whether two decodings agree; one may begin with the space that tokenizers strip from a text's beginning."""
    return text in (decoded, f" {decoded}") or decoded == f" {text}"

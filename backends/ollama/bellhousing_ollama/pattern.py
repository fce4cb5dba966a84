r"""Which regular expressions llama.cpp turns into a grammar that means the same; others it drops, or gets wrong.

Source: `common/json-schema-to-grammar.cpp` of llama.cpp b10760. It takes only whole patterns, writes what they match
into the JSON as it is, and lets a quantifier repeat all of a literal that has an escape in it.
"""

import re

from bellhousing.json_schema import SchemaError

RAW = r'[^\x00-\x1f"\\^$.\[\](){}|*+?]'
"""Characters that mean themselves in a pattern, and that JSON writes as they are."""
ESCAPED = r"\\[\^$.\[\](){}|*+?]"
IN_CLASS = r'[^\x00-\x1f"\\\]\[^-]'
MEMBER = rf"(?:{IN_CLASS}-{IN_CLASS}|{IN_CLASS})"
QUANTIFIER = r"(?:[*+?]|\{\d+(?:,\d*)?\})"
_CLASS = re.compile(rf"\[-?{MEMBER}+-?\]|\[-\]")
_RANGE = re.compile(rf"({IN_CLASS})-({IN_CLASS})")
_PIECE = re.compile(rf"{_CLASS.pattern}|\((?:\?:|(?!\?))|\)|\||{QUANTIFIER}|{ESCAPED}|{RAW}")
_QUANTIFIER = re.compile(QUANTIFIER)
WRITTEN_OTHERWISE = '"\\'
"""Characters that JSON writes with a backslash, which the grammar would not ask for."""


def check_pattern(pattern: str) -> None:
    """Raise `SchemaError`, with the place, for a pattern that would not be kept."""
    if len(pattern) < 2 or not pattern.startswith("^") or not pattern.endswith("$"):
        raise _refused(pattern, "must begin with ^ and end with $")
    end, at = len(pattern) - 1, 1
    previous = "("
    while at < end:
        piece = _PIECE.match(pattern, at, end)
        if piece is None:
            raise _refused(pattern, f"has {pattern[at : at + 2]!r} at {at}, which is not supported")
        if _QUANTIFIER.fullmatch(piece[0]):
            _check_repeated(pattern, previous, at)
        if piece[0].startswith("["):
            _check_ranges(pattern, piece[0])
        previous, at = piece[0], piece.end()


def _check_repeated(pattern: str, repeated: str, at: int) -> None:
    if repeated[0] in "(|" or _QUANTIFIER.fullmatch(repeated):
        raise _refused(pattern, f"repeats nothing, or a repetition, at {at}")
    if repeated.startswith("\\") or not repeated[-1].isascii():
        raise _refused(pattern, f"repeats {repeated!r} at {at}: write it as a class or a group")


def _check_ranges(pattern: str, found: str) -> None:
    for low, high in _RANGE.findall(found):
        if low > high or any(low <= character <= high for character in WRITTEN_OTHERWISE):
            raise _refused(pattern, f"has the range {low}-{high}: it must be in order and without quote and backslash")


def _refused(pattern: str, why: str) -> SchemaError:
    return SchemaError(f"`pattern` {pattern!r} {why}")

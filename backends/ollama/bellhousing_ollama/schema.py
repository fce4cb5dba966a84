"""What llama.cpp keeps of a JSON schema. It drops the rest without a word, so that is refused by name.

Source: `common/json-schema-to-grammar.cpp` of llama.cpp b10760. It takes one branch for each schema, and sees only the
keywords of that branch.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bellhousing.json_schema import TYPES, SchemaError, is_number, read_schema
from bellhousing_ollama.pattern import check_pattern

NOTES = {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$schema", "$comment"}
"""Keywords that demand nothing."""
DEFINITIONS = ("$defs", "definitions")
FORMATS = {"date", "time", "date-time", "uuid", *(f"uuid{n}" for n in range(1, 6))}
LENGTHS = {"minLength", "maxLength"}
MINIMA, MAXIMA = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
OF_TYPE: Mapping[str, set[str]] = {
    "object": {"properties", "required", "additionalProperties", "minProperties", "maxProperties", "patternProperties",
               "propertyNames", "dependentRequired", "dependentSchemas", "unevaluatedProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains",
              "unevaluatedItems", "additionalItems"},
    "string": {"pattern", "format", *LENGTHS, "contentEncoding", "contentMediaType"},
    "number": {"multipleOf", *MINIMA, *MAXIMA},
}  # fmt: skip
"""Keywords that concern values of one type alone."""


def checked_schema(text: str) -> dict[str, Any]:
    """Return a schema that Ollama keeps in all its parts. Raises `SchemaError` naming what it would not keep."""
    schema = read_schema(text)
    if not isinstance(schema, dict) or not schema:
        raise SchemaError("must be an object with at least one keyword: Ollama ignores an empty one")
    _check(schema, "")
    return schema


def _check(schema: object, path: str) -> None:
    if not isinstance(schema, dict):
        raise _refused(path, "must be an object, such as {}", schema)
    for name in DEFINITIONS:
        _check_each(schema.get(name, {}), f"{path}/{name}")
    demands = {name: value for name, value in schema.items() if name not in NOTES and name not in DEFINITIONS}
    kinds: Sequence[str | None] = _types(demands, path) or [None]
    for kind in kinds:
        _check_branch(_of_type(demands, kind), kind, path)


def _types(demands: dict[str, Any], path: str) -> list[str]:
    """Return the types that are named; none where any will do."""
    if "type" not in demands:
        return []
    found = demands["type"]
    types = found if isinstance(found, list) else [found]
    if not types or not all(isinstance(name, str) and name in TYPES for name in types):
        raise _refused(f"{path}/type", f"must be one or more of {', '.join(TYPES)}", found)
    return types


def _check_branch(demands: dict[str, Any], kind: str | None, path: str) -> None:
    """Check what is demanded of values of one type, None where any will do."""
    kept = _kept(demands, kind, path)
    lost = [name for name in demands if name not in kept and name != "type"]
    if lost:
        beside = f" beside `{'`, `'.join(kept)}`" if kept else f" for the type {kind}" if kind else " without a type"
        raise SchemaError(f"{path or '/'}: `{'`, `'.join(lost)}` would not be kept{beside}: Ollama drops it")


def _of_type(demands: dict[str, Any], kind: str | None) -> dict[str, Any]:
    """Return the demands without those that concern other types than this one."""
    if kind is None:
        return demands
    own = "number" if kind == "integer" else kind
    others = set().union(*(names for name, names in OF_TYPE.items() if name != own))
    return {name: value for name, value in demands.items() if name not in others}


def _kept(demands: dict[str, Any], kind: str | None, path: str) -> Sequence[str]:
    """Return the keywords that llama.cpp sees, in the order in which it looks; check what is below them."""
    if "$ref" in demands:
        _check_reference(demands["$ref"], path)
        return ["$ref"]
    if "anyOf" in demands and "oneOf" not in demands:
        _check_each(demands["anyOf"], f"{path}/anyOf")
        return ["anyOf"]
    if "oneOf" in demands:
        raise _refused(f"{path}/oneOf", "must be anyOf, as which Ollama takes it", "oneOf")
    for name in ("const", "enum"):
        if name in demands:
            values = [demands[name]] if name == "const" else demands[name]
            _check_values(values, _types(demands, path), f"{path}/{name}")
            return [name]
    branches = {"object": _kept_of_object, "array": _kept_of_array, "string": _kept_of_string}
    looked_at = [kind] if kind else list(branches)
    for name in looked_at:
        if name in branches and (kept := branches[name](demands, path)):
            return kept
    if kind == "string":
        return _integers(demands, LENGTHS, path)
    return _kept_of_integer(demands, path) if kind == "integer" else []


def _kept_of_object(demands: dict[str, Any], path: str) -> Sequence[str]:
    properties, others = demands.get("properties", {}), demands.get("additionalProperties", True)
    if "properties" not in demands and others is True:
        return [name for name in ("additionalProperties",) if name in demands]
    _check_each(properties, f"{path}/properties")
    if not isinstance(others, bool):
        _check(others, f"{path}/additionalProperties")
    required = demands.get("required", [])
    missing = [name for name in required if name not in properties] if isinstance(required, list) else [required]
    if missing:
        raise _refused(f"{path}/required", "must name `properties`", missing[0])
    return [name for name in ("properties", "required", "additionalProperties") if name in demands]


def _kept_of_array(demands: dict[str, Any], path: str) -> Sequence[str]:
    if "prefixItems" in demands and "items" not in demands:
        _check_each(demands["prefixItems"], f"{path}/prefixItems")
        count, bounds = len(demands["prefixItems"]), _integers(demands, {"minItems", "maxItems"}, path)
        if not demands.get("minItems", count) <= count <= demands.get("maxItems", count):
            raise _refused(f"{path}/prefixItems", "must have minItems to maxItems items", count)
        return ["prefixItems", *bounds]
    if "items" in demands:
        _check(demands["items"], f"{path}/items")
        return ["items", *_integers(demands, {"minItems", "maxItems"}, path)]
    return []


def _kept_of_string(demands: dict[str, Any], path: str) -> Sequence[str]:
    if "pattern" in demands:
        if not isinstance(demands["pattern"], str):
            raise _refused(f"{path}/pattern", "must be a text", demands["pattern"])
        check_pattern(demands["pattern"])
        return ["pattern"]
    if "format" in demands and demands["format"] not in FORMATS:
        raise _refused(f"{path}/format", f"must be one of {', '.join(sorted(FORMATS))}", demands["format"])
    return ["format"] if "format" in demands else []


def _kept_of_integer(demands: dict[str, Any], path: str) -> Sequence[str]:
    """Return the bounds of an integer: of each side one."""
    kept = _integers(demands, MINIMA | MAXIMA, path)
    return [name for name in kept if not (name.startswith("exclusive") and {*kept} & _twin(name))]


def _twin(name: str) -> set[str]:
    return {"minimum"} if name in MINIMA else {"maximum"}


def _integers(demands: dict[str, Any], names: set[str], path: str) -> list[str]:
    """Return those of the keywords that are there. Each must be an integer."""
    found = [name for name in demands if name in names]
    for name in found:
        if not is_number(demands[name]) or not TYPES["integer"](demands[name]):
            raise _refused(f"{path}/{name}", "must be an integer", demands[name])
    return found


def _check_each(schemas: object, path: str) -> None:
    if not isinstance(schemas, dict | list):
        raise _refused(path, "must be a list or object of schemas", schemas)
    named: Iterator[tuple[object, object]] = iter(schemas.items() if isinstance(schemas, dict) else enumerate(schemas))
    for name, schema in named:
        _check(schema, f"{path}/{name}")


def _check_values(values: object, types: Sequence[str], path: str) -> None:
    if not isinstance(values, list) or not values:
        raise _refused(path, "must be a list of values", values)
    wrong = [value for value in values if types and not any(TYPES[name](value) for name in types)]
    if wrong:
        raise _refused(path, f"must have values of the type {' or '.join(types)} alone", wrong[0])


def _check_reference(found: object, path: str) -> None:
    if not isinstance(found, str) or not found.startswith("#/"):
        raise _refused(f"{path}/$ref", "must begin with #/, inside the schema", found)


def _refused(path: str, expected: str, found: object) -> SchemaError:
    return SchemaError(f"{path or '/'}: {expected}, found {found!r}")

"""Whether a document that was read is what data/record.schema.json describes.

A small reader of JSON Schema: the core needs no package beside nvidia-ml-py and rich, and the schema is the one place
that says what a record holds. The tests hold it against the jsonschema package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from gpusmoke.facts import Json

TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "number": (int, float),
    "integer": int,
    "null": type(None),
}
# Remarks, and conditions on the verdict, which is not read but follows anew from the rest.
IGNORED = {"$schema", "$id", "$defs", "title", "description", "allOf"}


@cache
def record_schema() -> dict[str, Json]:
    """The published schema of a record."""
    text = (Path(__file__).parent / "data/record.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Json] = json.loads(text)
    return schema


def is_type(value: Json, name: str) -> bool:
    """Whether a value has a type of JSON Schema; True is no number there."""
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, float) and name == "integer":
        return value.is_integer()
    return isinstance(value, TYPES[name])


def mismatch(value: Json, schema: dict[str, Json], where: str = "it") -> str | None:
    """What is wrong with the first part of `value` that does not follow `schema`, or None.

    Raises KeyError where the schema uses a keyword that is not understood here.
    """
    for keyword, wanted in schema.items():
        if keyword not in IGNORED and (wrong := CHECKS[keyword](value, wanted, where)):
            return wrong
    return None


def _reference(value: Json, name: str, where: str) -> str | None:
    return mismatch(value, record_schema()["$defs"][name.removeprefix("#/$defs/")], where)


def _type(value: Json, wanted: Json, where: str) -> str | None:
    names = wanted if isinstance(wanted, list) else [wanted]
    return None if any(is_type(value, name) for name in names) else f"{where} is no {' or '.join(names)}"


def _one_of(value: Json, wanted: list[Json], where: str) -> str | None:
    return None if any(value == one and type(value) is type(one) for one in wanted) else f"{where} is {value!r:.60}"


def _required(value: Json, names: list[str], where: str) -> str | None:
    missing = [name for name in names if isinstance(value, dict) and name not in value]
    return f"{where} has no {missing[0]!r}" if missing else None


def _properties(value: Json, schemas: dict[str, Json], where: str) -> str | None:
    present = [name for name in schemas if isinstance(value, dict) and name in value]
    return next(
        (wrong for name in present if (wrong := mismatch(value[name], schemas[name], f"{name!r} of {where}"))), None
    )


def _values(value: Json, schema: dict[str, Json], where: str) -> str | None:
    rows = value.items() if isinstance(value, dict) else ()
    return next((wrong for name, row in rows if (wrong := mismatch(row, schema, f"{name!r} of {where}"))), None)


def _items(value: Json, schema: dict[str, Json], where: str) -> str | None:
    rows = enumerate(value) if isinstance(value, list) else ()
    return next((wrong for at, row in rows if (wrong := mismatch(row, schema, f"item {at} of {where}"))), None)


def _size(value: Json, least: int, most: float, where: str) -> str | None:
    fits = not isinstance(value, list) or least <= len(value) <= most
    return None if fits else f"{where} has {len(value)} items"


def _minimum(value: Json, least: float, where: str) -> str | None:
    return f"{where} is {value}" if is_type(value, "number") and value < least else None


def _pattern(value: Json, pattern: str, where: str) -> str | None:
    return f"{where} is {value!r:.60}" if isinstance(value, str) and not re.search(pattern, value) else None


CHECKS: dict[str, Callable[[Json, Json, str], str | None]] = {
    "$ref": _reference,
    "type": _type,
    "enum": _one_of,
    "const": lambda value, wanted, where: _one_of(value, [wanted], where),
    "required": _required,
    "properties": _properties,
    "additionalProperties": _values,
    "items": _items,
    "minItems": lambda value, least, where: _size(value, least, float("inf"), where),
    "maxItems": lambda value, most, where: _size(value, 0, most, where),
    "minimum": _minimum,
    "minLength": lambda value, least, where: _pattern(value, f"(?s).{{{least}}}", where),
    "pattern": _pattern,
}

"""Whether a document that was read is what data/record.schema.json describes.

A small reader of JSON Schema: the core needs no package beside nvidia-ml-py and rich, and the schema is the one place
that says what a record holds. The tests hold it against the jsonschema package.

A schema is compiled to functions first, which look up what they can by type: `fleet` reads ten thousand records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

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
# What json.loads makes of each, where the type alone decides; an integer may also be written 1.0.
EXACT: dict[str, set[type]] = {name: set(held) if isinstance(held, tuple) else {held} for name, held in TYPES.items()}
SCALARS = (str, int, float, bool, type(None))
# Remarks, and conditions on the verdict, which is not read but follows anew from the rest.
IGNORED = {"$schema", "$id", "$defs", "title", "description", "allOf"}


class Wrong(NamedTuple):
    """What is wrong with a part of a document, and the way to it, from the innermost place outwards."""

    way: tuple[str, ...]
    what: str

    def below(self, place: str) -> Wrong:
        """The same, seen from one level further out."""
        return Wrong((*self.way, place), self.what)


Check = Callable[[Json], Wrong | None]


@cache
def record_schema() -> dict[str, Json]:
    """The published schema of a record."""
    text = (Path(__file__).parent / "data/record.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Json] = json.loads(text)
    return schema


@cache
def record_check() -> Check:
    """The published schema, compiled."""
    return compiled(record_schema())


def is_type(value: Json, name: str) -> bool:
    """Whether a value has a type of JSON Schema; True is no number there."""
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, float) and name == "integer":
        return value.is_integer()
    return isinstance(value, TYPES[name])


def mismatch(value: Json, check: Check) -> str | None:
    """What is wrong with the first part of `value` that does not pass a compiled schema, as a sentence, or None."""
    wrong = check(value)
    return wrong and f"{' of '.join([*wrong.way, 'it'])} {wrong.what}"


def compiled(schema: dict[str, Json]) -> Check:
    """A function that tells what is wrong with the first part of a value that does not follow `schema`, or None.

    Raises KeyError where the schema uses a keyword that is not understood here.
    """
    checks = [CHECKS[keyword](wanted) for keyword, wanted in checked(schema).items()]
    if len(checks) == 1:
        return checks[0]

    def check(value: Json) -> Wrong | None:
        for one in checks:
            if (wrong := one(value)) is not None:
                return wrong
        return None

    return check


@cache
def definition(name: str) -> Check:
    """One of the schema's definitions, compiled once however often it is referred to."""
    return compiled(record_schema()["$defs"][name.removeprefix("#/$defs/")])


def checked(schema: dict[str, Json]) -> dict[str, Json]:
    """What of a schema can be followed or not."""
    return {keyword: wanted for keyword, wanted in schema.items() if keyword not in IGNORED}


def exact_types(wanted: Json) -> set[type]:
    """The types of Python that decide by themselves."""
    return set().union(*(EXACT[name] for name in (wanted if isinstance(wanted, list) else [wanted])))


def enough(schema: dict[str, Json]) -> set[type]:
    """The types that are right without a closer look: of a schema that asks for more than a type there are none."""
    return exact_types(schema["type"]) if checked(schema).keys() == {"type"} else set()


def _type(wanted: Json) -> Check:
    names, exact = wanted if isinstance(wanted, list) else [wanted], exact_types(wanted)
    wrong = Wrong((), f"is no {' or '.join(names)}")

    def check(value: Json) -> Wrong | None:
        return None if type(value) in exact or any(is_type(value, name) for name in names) else wrong

    return check


def _one_of(wanted: list[Json]) -> Check:
    known = {(type(one), one) for one in wanted}

    def check(value: Json) -> Wrong | None:
        found = isinstance(value, SCALARS) and (type(value), value) in known
        return None if found else Wrong((), f"is {value!r:.60}")

    return check


def _required(names: list[str]) -> Check:
    needed = set(names)

    def check(value: Json) -> Wrong | None:
        if not isinstance(value, dict) or needed <= value.keys():
            return None
        return Wrong((), f"has no {next(name for name in names if name not in value)!r}")

    return check


def _properties(schemas: dict[str, Json]) -> Check:
    checks = [(name, enough(schema), compiled(schema)) for name, schema in schemas.items() if checked(schema)]

    def check(value: Json) -> Wrong | None:
        for name, exact, one in checks if isinstance(value, dict) else ():
            if name in value and type(held := value[name]) not in exact and (wrong := one(held)) is not None:
                return wrong.below(repr(name))
        return None

    return check


def _values(schema: dict[str, Json]) -> Check:
    one = compiled(schema)

    def check(value: Json) -> Wrong | None:
        for name, row in value.items() if isinstance(value, dict) else ():
            if (wrong := one(row)) is not None:
                return wrong.below(repr(name))
        return None

    return check


def _items(schema: dict[str, Json]) -> Check:
    one, exact = compiled(schema), enough(schema)

    def check(value: Json) -> Wrong | None:
        if not isinstance(value, list) or (exact and exact.issuperset(map(type, value))):
            return None
        for at, row in enumerate(value):
            if (wrong := one(row)) is not None:
                return wrong.below(f"item {at}")
        return None

    return check


def _size(least: int, most: float) -> Check:
    def check(value: Json) -> Wrong | None:
        fits = not isinstance(value, list) or least <= len(value) <= most
        return None if fits else Wrong((), f"has {len(value)} items")

    return check


def _minimum(least: float) -> Check:
    def check(value: Json) -> Wrong | None:
        is_number = type(value) in EXACT["number"] or is_type(value, "number")
        return Wrong((), f"is {value}") if is_number and value < least else None

    return check


def _pattern(pattern: str) -> Check:
    found = re.compile(pattern).search
    return lambda value: Wrong((), f"is {value!r:.60}") if isinstance(value, str) and not found(value) else None


CHECKS: dict[str, Callable[[Json], Check]] = {
    "$ref": definition,
    "type": _type,
    "enum": _one_of,
    "const": lambda wanted: _one_of([wanted]),
    "required": _required,
    "properties": _properties,
    "additionalProperties": _values,
    "items": _items,
    "minItems": lambda least: _size(least, float("inf")),
    "maxItems": lambda most: _size(0, most),
    "minimum": _minimum,
    "minLength": lambda least: _pattern(f"(?s).{{{least}}}"),
    "pattern": _pattern,
}

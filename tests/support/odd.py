"""Odd values, and the places of a document to put them, for property tests of records and of rules."""

from hypothesis import strategies as st

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ODD = SCALARS | st.just([]) | st.just({}) | st.just([{}])


def nested(keys):
    """Odd values in lists and dictionaries with these keys; small ones, since it is drawing that takes long."""
    return st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(keys), inner, max_size=4),
        max_leaves=8,
    )


def places(value, path=()):
    """Every place in a document, as the keys that lead there."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))

"""Odd values, and the places of a document to put them, for property tests of records."""

from hypothesis import strategies as st

ODD = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([]) | st.just({}) | st.just([{}])


def places(value, path=()):
    """Every place in a document, as the keys that lead there."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))

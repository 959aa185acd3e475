"""Text of a record on a terminal: as text alone, and on its line."""

from __future__ import annotations

import re

# What moves the cursor, colours, breaks lines, turns the direction of reading, or can't be written at all.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
INSTEAD = "\ufffd"  # of one column, so that tables stay as they were laid out


def plain(text: str) -> str:
    """The text with nothing in it that a terminal obeys: a record may come from anybody."""
    return CONTROLS.sub(INSTEAD, text)

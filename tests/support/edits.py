"""Changes of a record for `edited`, and what compare says of two."""

import json


def scaled(share, which=lambda row: row["regime"] == "settled" and row["quantity"] == "matmul"):
    """A change of the record: these rows at this share of their rate."""

    def change(document):
        for row in document["measurements"]:
            if which(row):
                row["value"] *= share
                row["samples"] = [rate * share for rate in row["samples"]]

    return change


def fact(name, value):
    """A change of the record: another fact."""
    return lambda document: document["facts"].update({name: {"value": value, "source": "a test"}})


def every(name, value):
    """A change of the record: every measurement has that."""

    def change(document):
        for row in document["measurements"]:
            row[name] = value

    return change


def with_changes(*changes):
    return lambda document: [change(document) for change in changes]


def compared(kit, valid, *args):
    """The record of a comparison, which is valid, and the exit code."""
    done = kit("compare", *args, "--json")
    assert done.stderr == ""
    record = json.loads(done.stdout)
    valid(record)
    return record, done.returncode


def sentence(done):
    """The one line that was said instead of a result."""
    assert done.returncode == 2, done.stdout
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    return line

"""What fleet says of records, through the real command line."""

import json

from fleets import A10, Fleet

from gpusmoke.fleet.hostlist import expand


def judged(kit, *args):
    """The record that fleet prints, and the exit code."""
    done = kit("fleet", *args, "--json")
    assert done.stderr == ""
    return json.loads(done.stdout), done.returncode


def named(record):
    """By node, the ids of the lines that name it."""
    found = {}
    for row in record["facts"]["fleet.lines"]["value"]:
        for name in expand(row["nodes"]):
            found.setdefault(name, set()).add(row["id"])
    return found


def one_gpu_each(kit, count, changes=None, folder="results"):
    """Write records of nodes with one GPU each, with `changes` by place, below the folder where `kit` runs."""
    fleet = Fleet(count, faults=0, models=[A10])
    for at, name in enumerate(fleet.names):
        document = json.loads(fleet.text(at))
        (changes or {}).get(at, lambda _: None)(document)
        path = kit.cwd / folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
    return fleet

"""Records are found and read whatever else lies around: each file that is none is told by name and reason."""

import json
import os
from pathlib import Path

import pytest
from fleets import A10, Fleet, typical

from gpusmoke.errors import UsageError
from gpusmoke.fleet import files
from gpusmoke.fleet.files import Passed, Unread, find, read, read_all
from gpusmoke.fleet.runs import Run

TEXT = Fleet(1, faults=0, models=[A10]).text(0)


def named(folder, *names):
    """Whole records under these names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEXT)


def seen(*paths):
    """What was found in the folders: the records' names, and what was refused, with the reason."""
    found, unread = find(map(Path, paths))
    return [file.path.name for file in found], {Path(one.path).name: one.why for one in unread}


def test_folders_are_searched_to_the_bottom_and_other_files_passed_over(tmp_path):
    named(tmp_path, "a.json", "deep/er/b.json", "notes.txt", "slurm-1.out")
    assert seen(tmp_path) == (["a.json", "b.json"], {})


def test_a_file_that_is_named_is_read_whatever_it_is_called(tmp_path):
    named(tmp_path, "record")
    assert seen(tmp_path / "record") == (["record"], {})


def test_nothing_is_read_twice(tmp_path):
    named(tmp_path, "job/a.json")
    os.link(tmp_path / "job/a.json", tmp_path / "job/b.json")
    (tmp_path / "job/c.json").symlink_to("a.json")
    (tmp_path / "job/0-latest.json").symlink_to("a.json")
    assert seen(tmp_path, tmp_path / "job", tmp_path / "job/a.json") == (["a.json"], {})


def test_links_that_lead_in_circles_or_nowhere_end_nothing(tmp_path):
    named(tmp_path, "a.json")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "itself.json").symlink_to("itself.json")
    (tmp_path / "gone.json").symlink_to("nowhere")
    found, refused = seen(tmp_path)
    assert found == ["a.json"]
    assert refused.keys() == {"itself.json", "gone.json"}
    assert all(why.startswith("can't be read: ") for why in refused.values())


def test_what_is_half_written_or_no_file_is_refused_unread(tmp_path):
    named(tmp_path, "a.json", "b.part")
    os.mkfifo(tmp_path / "pipe.json")  # to open it would wait for ever
    found, refused = seen(tmp_path)
    assert found == ["a.json"]
    assert refused["b.part"].startswith("is half-written")
    assert refused["pipe.json"] == "is no ordinary file"


def test_a_folder_that_can_not_be_entered_is_told(tmp_path, monkeypatch):
    named(tmp_path, "open/a.json", "closed/b.json")
    scandir = os.scandir

    def guarded(path):  # root, as which tests may run, may enter every folder
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found, refused = seen(tmp_path)
    assert found == ["a.json"]
    assert refused == {"closed": "can't be looked into: Permission denied"}


def test_a_path_that_is_not_there_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="nowhere does not exist"):
        find([tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="can't be read: File name too long"):
        find([tmp_path / ("x" * 300)])
    (tmp_path / "long.json").symlink_to("x" * 300)
    with pytest.raises(UsageError, match=r"long\.json can't be read: File name too long"):
        find([tmp_path / "long.json"])
    assert seen(tmp_path)[1] == {"long.json": "can't be read: File name too long"}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "is empty"),
        (TEXT[: len(TEXT) // 2], "is not a whole record: "),
        ("\x00", "is not a whole record: "),
        ('{"hello": "world"}', "is not a whole record: it has no 'schema'"),
        ('{"schema": "gpusmoke-record/9"}', "has schema 'gpusmoke-record/9'"),
        (TEXT.replace('"cublas"', '"abacus"'), "is not a whole record: 'backend' of item 0 of 'measurements' of it is"),
        ("[" * 100000, "is not a whole record: "),
        (TEXT.encode() + b"\xff", "is not a whole record: "),
        (TEXT + " " * files.LARGEST_BYTES, "is larger than 8 MiB"),
    ],
    ids=["empty", "cut", "binary", "other JSON", "later schema", "odd value", "deep", "no UTF-8", "large"],
)
def test_what_is_no_record_is_told_with_the_reason(tmp_path, content, why):
    path = tmp_path / "node7.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (file,), _ = find([path])
    one = read(file)
    assert isinstance(one, Unread)
    assert (one.path, one.node) == (str(path), "node7")
    assert one.why.startswith(why)


def test_a_file_that_vanishes_meanwhile_is_told(tmp_path):
    named(tmp_path, "a.json")
    (file,), _ = find([tmp_path])
    file.path.unlink()
    assert read(file).why == "can't be read: No such file or directory"


def test_a_record_that_tells_of_no_machine_is_passed_over(tmp_path):
    document = json.loads(TEXT) | {"command": "audit", "measurements": []}
    (tmp_path / "a.json").write_text(json.dumps(document))
    (file,), _ = find([tmp_path])
    assert read(file) == Passed(str(file.path), "audit", ())


def test_a_node_says_its_own_name_or_has_that_of_its_file(tmp_path):
    document = json.loads(TEXT)
    named(tmp_path, "whatever.json")
    del document["facts"]["request.node"]
    for name in ("gpu-1", "gpu-2", "n5", "n5-2", "n5-3"):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    found, _ = find([tmp_path])
    assert {Path(one.path).stem: one.node for one in map(read, found)} == {
        "whatever": "node00001",
        "gpu-1": "gpu-1",  # there is no gpu.json, so this is its name
        "gpu-2": "gpu-2",
        "n5": "n5",
        "n5-2": "n5",
        "n5-3": "n5",
    }


def test_what_is_damaged_is_named_after_its_node_too(tmp_path):
    named(tmp_path, "gpu1.json", "gpu1-2.part", "n5-2.part", "gone.json")
    (tmp_path / "gone-3.json").symlink_to("nowhere")
    (tmp_path / "n5.json").write_text("")
    _, unread = find([tmp_path])
    assert {Path(one.path).name: one.node for one in unread} == {
        "gpu1-2.part": "gpu1",
        "n5-2.part": "n5",
        "gone-3.json": "gone",
    }


def test_many_are_read_on_all_cores_with_the_same_result(tmp_path, monkeypatch):
    fleet = Fleet(28, faults=20)
    fleet.write(tmp_path)
    found, _ = find([tmp_path])
    alone = list(read_all(found))
    monkeypatch.setattr(files, "WORTH_IT", 2)
    monkeypatch.setattr(files, "AT_ONCE", 5)
    monkeypatch.setattr(files, "processes", lambda: 2)
    assert list(read_all(found)) == alone
    assert {type(one) for one in alone} == {Run, Unread}


def test_where_a_reading_process_is_killed_the_rest_is_read_without(tmp_path, monkeypatch):
    Fleet(28, faults=20).write(tmp_path)
    found, _ = find([tmp_path])
    alone = list(read_all(found))
    monkeypatch.setattr(files, "WORTH_IT", 2)
    monkeypatch.setattr(files, "AT_ONCE", 5)
    monkeypatch.setattr(files, "processes", lambda: 2)
    monkeypatch.setattr(files, "prepare", Killed(found[17].path))
    assert list(read_all(found)) == alone


class Killed:
    """Sets a reading process up to be killed at that file, as by the kernel for want of memory."""

    def __init__(self, path):
        self.path = path

    def __call__(self):
        original = files.read
        files.read = lambda file: os._exit(9) if file.path == self.path else original(file)


def test_a_file_is_read_up_to_the_size_that_a_record_may_have(tmp_path, monkeypatch):
    named(tmp_path, "a.json")
    (file,), _ = find([tmp_path])
    monkeypatch.setattr(files, "LARGEST_BYTES", len(TEXT.encode()))
    assert isinstance(read(file), Run)
    monkeypatch.setattr(files, "LARGEST_BYTES", len(TEXT.encode()) - 1)
    assert read(file).why == "is larger than 0 MiB, which no record is"


def test_what_is_kept_of_a_record_is_small_and_right(tmp_path):
    named(tmp_path, "a.json")
    (file,), _ = find([tmp_path])
    run = read(file)
    document = json.loads(TEXT)
    (gpu,) = run.gpus
    assert (run.command, run.complete, run.problems) == ("smoke", True, ())
    assert dict(run.software)["driver"] == "580.159.04"
    assert (gpu.ordinal, gpu.model.name, gpu.link) == (0, A10.name, (5, 16))
    assert gpu.uuid == document["facts"]["cuda.devices"]["value"][0]["uuid"]
    assert [rate.value for rate in gpu.rates] == [row["value"] for row in document["measurements"]]
    assert [rate.what.name for rate in gpu.rates][1] == "bf16 8192x8192x8192 NT settled"
    assert gpu.rates[1].readings[0] == document["measurements"][1]["telemetry"]["sm_clock_mhz"]


def test_of_an_interrupted_run_what_it_had_found_is_kept_and_not_the_interruption(tmp_path):
    document = json.loads(TEXT) | {"complete": False, "verdict": "problem"}
    blank = {"severity": "problem", "evidence": [], "advice": [], "link": None, "title": "A title."}
    document["findings"] = [blank | {"id": "bits-differ", "gpu": 0}, blank | {"id": "interrupted", "gpu": None}]
    (tmp_path / "a.json").write_text(json.dumps(document))
    (file,), _ = find([tmp_path])
    assert [one.id for one in read(file).problems] == ["bits-differ"]


def test_parts_of_a_card_have_no_address_of_their_own(tmp_path):
    document = json.loads(TEXT)
    (card,) = document["facts"]["cuda.devices"]["value"]
    other = card | {"uuid": "GPU-1", "ordinal": 1}
    card["name"] += " MIG 1g.10gb"
    document["facts"]["cuda.devices"]["value"].append(other)
    (tmp_path / "a.json").write_text(json.dumps(document))
    (file,), _ = find([tmp_path])
    assert [gpu.pci for gpu in read(file).gpus] == [None, card["pci"]]


def test_what_another_method_measured_is_something_else(tmp_path):
    named(tmp_path, "a.json")
    (tmp_path / "b.json").write_text(TEXT.replace('"method": 1', '"method": 2'))
    found, _ = find([tmp_path])
    one, other = (read(file).gpus[0].rates[0].what for file in found)
    assert one != other
    assert one._replace(key=other.key, method=other.method) == other


def test_the_synthetic_records_are_like_real_ones(valid):
    valid(json.loads(TEXT))
    pieces, rows = typical(A10)
    assert len(rows) == 4
    assert 15_000 < len("".join(pieces)) < 40_000

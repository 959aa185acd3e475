"""What compare refuses to compare, and what it takes for no measure, through the real command line."""

import pytest
from edits import compared, every, fact, scaled, sentence, with_changes


def of_another_model(document):
    document["facts"]["bench.0"]["value"]["name"] = "NVIDIA H200"
    every("device", "NVIDIA H200")(document)


def fewer_multiprocessors(document):
    document["facts"]["bench.0"]["value"]["multiprocessors"] = 60


def mig(document):
    document["facts"]["nvml.gpus"]["value"][0]["mig_mode"] = 1


def only(dtype):
    """A change of the record: only one format was measured."""

    def change(document):
        document["measurements"] = [row for row in document["measurements"] if row["dtype"] == dtype]

    return change


NEVER = [
    (of_another_model, "different GPUs: NVIDIA H100 80GB HBM3 with 132 multiprocessors, and NVIDIA H200"),
    (fewer_multiprocessors, "different GPUs: NVIDIA H100 80GB HBM3 with 132 multiprocessors, and NVIDIA H100 80GB"),
    (mig, "in MIG mode"),
    (fact("nvml.driver_version", "575.57.08"), "the driver's major version differs: 580 and 575"),
    (fact("nvml.driver_version", "57\u20285.1"), "differs: 580 and 57 5"),
    (fact("nvml.driver_version", "\x1b[31m5.1"), "differs: 580 and \ufffd[31m5"),
    (every("method", 1), "version of the measuring method differs: 2 and 1"),
    (every("backend", "triton"), "the backend differs: cublas and triton"),
    (fact("torch.version", "2.12.0+cu130"), "the version of PyTorch differs: 2.11 and 2.12"),
    (fact("torch.cuda", "12.9"), "the CUDA that PyTorch was built for differs: 13.0 and 12.9"),
    (
        fact("pixi.current", {"environment": "cuda12", "subdir": "linux-64", "cuda": "12.0"}),
        "the Pixi environment differs: none and cuda12 on linux-64, CUDA 12.0",
    ),
    (every("shape", [64, 64, 64]), "they have no settled matrix product in common"),
    (lambda document: document.update(complete=False, verdict="problem"), "it is not complete"),
    (lambda document: document.update(command="doctor"), "it is a record of doctor"),
    (lambda document: document.update(command="check"), "it is a record of check"),
    (lambda document: document.update(measurements=[]), "no settled matrix product was measured"),
    (every("samples", [0.0] * 10), "a rate in it makes no sense"),
    (every("samples", [float("nan")] * 10), "a rate in it makes no sense"),
    (every("samples", [10**400] * 10), "a rate in it makes no sense"),
]


@pytest.mark.parametrize(("change", "reason"), NEVER, ids=[reason for _, reason in NEVER])
def test_what_can_not_be_compared_is_refused_in_one_sentence(kit, edited, change, reason):
    old, new = edited("old.json"), edited("new.json", change)
    assert reason in sentence(kit("compare", old, new))
    refused = sentence(kit("compare", new, old))
    assert "new.json" in refused
    assert "can't be compared: " in refused


def test_records_of_one_format_each_have_nothing_in_common(kit, edited):
    said = sentence(kit("compare", edited("old.json", only("bf16")), edited("new.json", only("fp32"))))
    assert said.endswith("can't be compared: they have no settled matrix product in common")


def test_the_power_limit_explains_and_does_not_refuse(kit, valid, edited):
    def lowered(document):
        document["facts"]["nvml.gpus"]["value"][0]["power_limit_w"] = 500.0

    record, code = compared(kit, valid, edited("old.json"), edited("new.json", lowered))
    assert code == 0
    assert [one["id"] for one in record["findings"]] == ["no-change"]


@pytest.mark.parametrize(("names", "which"), [(("a.json", "wrong.json"), "newer"), (("wrong.json", "a.json"), "older")])
def test_rates_of_wrong_results_are_worth_nothing(kit, valid, edited, names, which):
    def wrong(document):
        document["measurements"][0]["verified"] |= {"passed": False, "error": 9.0}

    edited("a.json")
    edited("wrong.json", with_changes(scaled(1.2), wrong))
    record, code = compared(kit, valid, *names)
    assert code == 1
    (found,) = record["findings"]
    assert found["id"] == "wrong-result"
    assert found["title"].startswith(f"In the {which} record, bf16 8192x8192x8192 NT burst came out wrong: largest")


@pytest.mark.parametrize("text", ["", '{"schema": "gpusmoke-record/1"', "[]"])
def test_a_damaged_file_is_named(kit, edited, text):
    (kit.cwd / "cut.json").write_text(text)
    edited("a.json")
    assert "cut.json is not a whole record" in sentence(kit("compare", "a.json", "cut.json"))
    assert "cut.json is not a whole record" in sentence(kit("compare", "cut.json", "a.json"))
    assert "none.json can't be read" in sentence(kit("compare", "a.json", "none.json"))

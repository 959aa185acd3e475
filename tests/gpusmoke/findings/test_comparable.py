"""Whether two runs can be compared at all, and which GPU of one is which of the other's."""

import pytest
from compared_runs import record, row

from gpusmoke.findings.comparable import difference, name_of, pairs, unfit


def test_gpus_of_one_uuid_belong_together_and_of_one_ordinal_where_the_models_agree():
    old = record([row([1.0] * 5)])
    assert [pair.another_card for pair in pairs(old, record([row([1.0] * 5)]))] == [False]
    assert [pair.another_card for pair in pairs(old, record([row([1.0] * 5)], uuid="GPU-2"))] == [True]
    assert [pair.another_card for pair in pairs(old, record([row([1.0] * 5)], uuid=None))] == [False]
    other = record([row([1.0] * 5)], bench__0={"name": "a GPU", "multiprocessors": 114})
    assert pairs(old, other) == []
    assert "132 multiprocessors, and a GPU with 114 multiprocessors" in difference(old, other)


def test_a_gpu_that_has_been_found_by_its_uuid_is_not_taken_for_the_one_in_its_old_place():
    def gpus(*uuids):
        devices = [{"ordinal": at, "uuid": uuid} for at, uuid in enumerate(uuids)]
        sizes = {f"bench.{at}": {"multiprocessors": 132} for at in range(len(uuids))}
        return record([row([1.0] * 5, gpu=at) for at in range(len(uuids))], cuda__devices=devices, **sizes)

    def numbers(older, newer):
        return [(pair.older.gpu, pair.newer.gpu) for pair in pairs(older, newer)]

    assert numbers(gpus("GPU-a"), gpus("GPU-b", "GPU-a")) == [(0, 1)]
    assert numbers(gpus("GPU-a", "GPU-b"), gpus("GPU-c", "GPU-a")) == [(0, 1)]
    assert numbers(gpus("GPU-a", "GPU-b"), gpus("GPU-b", "GPU-a")) == [(1, 0), (0, 1)]
    # Those without a UUID have nothing but their place.
    assert numbers(gpus("GPU-a", None), gpus("GPU-a", None)) == [(0, 0), (1, 1)]
    assert numbers(gpus("GPU-a", None), gpus(None, "GPU-a")) == [(0, 1)]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "bf16 8192x8192x8192 NT settled"),
        ({"backend": "nvcc-mma", "regime": "burst"}, "bf16 8192x8192x8192 NT burst nvcc-mma"),
        ({"backend": "cpu"}, "bf16 8192x8192x8192 NT settled"),
    ],
)
def test_a_measurement_is_named_after_the_library_only_where_it_is_not_the_usual_one(changes, name):
    assert name_of(row([1.0], **changes)) == name


def on_cpu(machine="x86_64", threads=4):
    rows = [row([1.0] * 5, gpu=None, device="CPU", backend="cpu", telemetry={"reason": "not a GPU"})]
    return record(rows, bench__0={"device": "cpu", "threads": threads}, host__machine=machine)


def test_runs_on_a_cpu_are_compared_on_the_same_kind_of_machine_alone():
    assert difference(on_cpu(), on_cpu()) is None
    assert difference(on_cpu(None), on_cpu(None)) is None
    assert difference(on_cpu(), on_cpu("aarch64")) == "the kind of machine differs: x86_64 and aarch64"
    assert difference(on_cpu(), on_cpu(threads=8)) == "the number of CPU threads differs: 4 and 8"
    assert difference(on_cpu(), record([row([1.0] * 5)])).startswith("they measured different GPUs: the CPU, and a GPU")


def test_what_neither_run_tells_does_not_keep_them_apart():
    silent = dict.fromkeys(("nvml__driver_version", "torch__version", "torch__cuda"))
    known, unknown = record([row([1.0] * 5)]), record([row([1.0] * 5)], **silent)
    assert difference(unknown, unknown) is None
    assert difference(known, unknown) == "the driver's major version differs: 580 and none"
    by_the_kernel = record([row([1.0] * 5)], nvml__driver_version=None, host__kernel_module="580.65.06")
    assert difference(known, by_the_kernel) is None


@pytest.mark.parametrize(("command", "rows", "why"), [("audit", [], "record of audit"), ("bench", [], "no settled")])
def test_what_holds_no_rates_is_unfit(command, rows, why):
    assert why in unfit(record(rows)._replace(command=command))

"""Brings failures about on a real GPU and looks whether each is named. Run it as root, with nothing else on the GPU:

    PYTHONPATH=src python benchmarks/provoke.py

It changes nothing that outlives it: device files are covered in private mounts, results are spoilt in the child's own
Python, and the memory that it fills is given back. nvcc is needed for five cases. With `--two` it goes on to the second
of two GPUs, where the first has to be reported as usual. Exit code 1: one was not named.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PYTHON = sys.executable
DEADLINE_SECONDS = 240
CHILD = "gpusmoke.workers.child"
NOBODY = "65534"
SIGNALS = [(signal.SIGKILL, "worker-crashed"), (signal.SIGSTOP, "worker-hung")]

# Run in every child before its own program; `torch.mm` is what check and bench multiply with.
PATCH = f"""\
import sys
if {CHILD!r} in sys.orig_argv:
    import ctypes, torch
    mm, calls = torch.mm, [0]
    def spoilt(a, b, out):
        mm(a, b, out=out)
        calls[0] += 1
        {{body}}
        return out
    torch.mm = spoilt
"""
HIGH_BIT = "out.view(torch.int16 if out.itemsize == 2 else torch.int32)[17, 5] ^= 1 << (8 * out.itemsize - 2)"
# The first of a pair differs from the second in the lowest bit of one element.
LOW_BIT = "out.view(torch.int16)[17, 5] ^= calls[0] & 1"
LOAD = """\
module, text = ctypes.c_void_p(), ctypes.c_char_p()
        cuda = ctypes.CDLL("libcuda.so.1")
        code = cuda.cuModuleLoadData(ctypes.byref(module), open({file!r}, "rb").read() + bytes(1))
        cuda.cuGetErrorString(code, ctypes.byref(text))
        if code: raise RuntimeError("CUDA driver error: " + text.value.decode())"""
SECOND = "sys.orig_argv[-1] == '1'"  # in the child of GPU 1
FILL = """\
import sys, time, torch
free = torch.cuda.mem_get_info()[0]
block = torch.empty(int(free * float(sys.argv[1])), dtype=torch.uint8, device="cuda")
print("filled", flush=True)
time.sleep(600)
"""
# What nvcc wrote last is PTX of a version to come.
NEWER_NVCC = """\
#!/bin/sh
for word; do [ "$last" = -o ] && target=$word; last=$word; done
{nvcc} "$@" && {{ [ -z "$target" ] || sed -i 's/^\\.version.*/.version 9.9/' "$target"; }}
"""
COMPETE = """\
import torch
torch.cuda.set_device(1)
a, b = (torch.rand(8192, 8192, dtype=torch.bfloat16, device="cuda") for _ in range(2))
for at in range(1 << 30):
    a @ b
    if at % 16 == 0: torch.cuda.synchronize()
    if at == 64: print("busy", flush=True)
"""
KERNEL = 'extern "C" __global__ void one(int *p) { *p = 1; }\n'


@dataclass
class Case:
    """One failure: what is run, in which surroundings, and the finding that has to be among its problems.

    `company` is a program that uses a GPU meanwhile, with its argument. With `on_second` the finding has to be about
    GPU 1, and GPU 0 has to be well.
    """

    name: str
    expected: str
    arguments: list[str]
    env: dict[str, str] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)
    company: tuple[str, str] | None = None
    on_second: bool = False


def covered(*nodes: str) -> list[str]:
    """A prefix that runs a command in a mount namespace of its own, where these device files are /dev/null."""
    mounts = " && ".join(f"mount --bind /dev/null /dev/{node}" for node in nodes)
    return ["unshare", "-m", "sh", "-c", f'{mounts} && exec "$@"', "sh"]


def closed() -> list[str]:
    """A prefix that runs a command as nobody, with copies of the device files that only root may open."""
    lines = [
        "mkdir -p /tmp/closed && mount -t tmpfs -o dev none /tmp/closed",
        "for f in /dev/nvidia*; do [ -c $f ] || continue; n=/tmp/closed/${f##*/}",
        'mknod -m 600 $n c $(stat -c "0x%t 0x%T" $f) && mount --bind $n $f; done',
        f'exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups "$@"',
    ]
    return ["unshare", "-m", "sh", "-c", "\n".join(lines), "sh"]


def patched(folder: Path, name: str, body: str) -> dict[str, str]:
    """An environment in which the children's torch.mm is spoilt."""
    place = folder / name
    place.mkdir()
    (place / "sitecustomize.py").write_text(PATCH.format(body=body), encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])}


def compiled(folder: Path) -> tuple[Path, Path]:
    """A kernel for another GPU generation alone, and one in PTX of a version that no driver knows."""
    source, other, newer = folder / "one.cu", folder / "other.cubin", folder / "newer.ptx"
    source.write_text(KERNEL, encoding="utf-8")
    subprocess.run(["nvcc", "-arch=sm_80", "-cubin", source, "-o", other], check=True, timeout=60)
    subprocess.run(["nvcc", "-arch=compute_80", "-ptx", source, "-o", newer], check=True, timeout=60)
    lines = newer.read_text(encoding="utf-8").splitlines()
    newer.write_text("\n".join(".version 9.9" if ".version" in line else line for line in lines), encoding="utf-8")
    return other, newer


def newer_nvcc(folder: Path) -> dict[str, str]:
    """An environment whose nvcc writes PTX of a version that no driver knows."""
    program = folder / "newer nvcc/nvcc"
    program.parent.mkdir()
    program.write_text(NEWER_NVCC.format(nvcc=shutil.which("nvcc")), encoding="utf-8")
    program.chmod(0o755)
    return {"PATH": os.pathsep.join([str(program.parent), os.environ["PATH"]]), "NVCC_APPEND_FLAGS": "-ptx"}


def cases(folder: Path) -> Iterator[Case]:
    """Everything that can be brought about on this machine."""
    doctor, check = ["doctor"], ["check"]
    for value, expected in {"": "empty", "-1": "empty", "7": "invalid", "abc": "invalid", "0,0": "invalid"}.items():
        env = {"CUDA_VISIBLE_DEVICES": value}
        yield Case(f"CUDA_VISIBLE_DEVICES={value!r}", f"visible-devices-{expected}", doctor, env)
    stubs = next(Path("/usr/local").glob("cuda*/lib64/stubs/libcuda.so"), None)
    if stubs is not None:
        (folder / "stubs").mkdir()
        shutil.copy(stubs, folder / "stubs/libcuda.so.1")
        yield Case("a stub libcuda first", "stub-libcuda", doctor, {"LD_LIBRARY_PATH": str(folder / "stubs")})
    tools = folder / "tools"
    tools.mkdir()
    (tools / "pixi").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (tools / "pixi").chmod(0o755)
    yield Case("no nvidia-smi on PATH", "cpu-platform-on-gpu-machine", doctor, {"PATH": str(tools)})
    yield Case("no /dev/nvidia-uvm", "uvm-missing", doctor, prefix=covered("nvidia-uvm"))
    yield Case("no /dev/nvidia0", "device-node-missing", doctor, prefix=covered("nvidia0"))
    yield Case("no /dev/nvidiactl", "device-node-missing", doctor, prefix=covered("nvidiactl"))
    yield Case("device files of root alone", "device-node-permission", doctor, prefix=closed())
    yield Case("memory taken by another process", "memory-taken", doctor, company=(FILL, "0.8"))
    yield Case("memory full", "out-of-memory", check, company=(FILL, "0.999"))
    yield Case("a high exponent bit flipped", "wrong-result", check, patched(folder, "high", HIGH_BIT))
    repeat = ["bench", "--dtype", "bf16", "--shape", "4096", "--seconds", "6", "--results", str(folder / "results")]
    yield Case("a low bit, between two repeats", "wrong-result", repeat, patched(folder, "low", LOW_BIT))
    if shutil.which("nvcc"):
        other, newer = compiled(folder)
        for name, file, expected in [("other", other, "arch-not-in-build"), ("newer", newer, "ptx-too-new")]:
            env = patched(folder, name, LOAD.format(file=str(file)))
            yield Case(f"a kernel: {file.name}", expected, check, env)
        built = [*check, "--nvcc"]
        yield Case("nvcc told of another GPU", "kernel-for-other-gpus", built, {"NVCC_APPEND_FLAGS": "-arch=sm_80"})
        yield Case("nvcc newer than the driver", "kernel-refused", built, newer_nvcc(folder))
        yield Case("a C++ compiler that is none", "host-compiler-unfit", built, {"CXX": "/bin/false"})
    for number, expected in SIGNALS:
        env = patched(folder, number.name, f"import os; os.kill(os.getpid(), {number.value})")
        yield Case(f"{number.name} in the middle of it", expected, [*check, "--timeout", "15"], env)


def cases_of_two(folder: Path) -> Iterator[Case]:
    """What can be brought about on the second of two GPUs."""
    results = ["--results", str(folder / "results")]
    for number, expected in SIGNALS:
        body = f"if {SECOND}: import os; os.kill(os.getpid(), {number.value})"
        env = patched(folder, f"second {number.name}", body)
        yield Case(f"{number.name}, on GPU 1", expected, ["check", "--timeout", "20"], env, on_second=True)
    body = f"if {SECOND} and calls[0] > 20: import os; os.kill(os.getpid(), {signal.SIGKILL.value})"
    env = patched(folder, "second bench", body)
    yield Case("SIGKILL in bench, on GPU 1", "worker-crashed", ["bench", "--quick", *results], env, on_second=True)
    body = f"if {SECOND} and calls[0] == 2000: {HIGH_BIT}"
    env = patched(folder, "second soak", body)
    soak = ["soak", "--minutes", "0.25", *results]
    yield Case("a bit flipped in soak, on GPU 1", "bits-differ", soak, env, on_second=True)
    busy = ["bench", "--quick", *results]
    yield Case("GPU 1 busy", "another-process", busy, company=(COMPETE, ""), on_second=True)


@contextlib.contextmanager
def company(program: str, argument: str) -> Iterator[None]:
    """Another process that uses a GPU, from when it says so."""
    with subprocess.Popen([PYTHON, "-c", program, argument], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def found(case: Case) -> list[dict[str, Any]]:
    """The findings of one case."""
    command = [*case.prefix, PYTHON, "-P", "-m", "gpusmoke", *case.arguments, "--json"]
    with company(*case.company) if case.company else contextlib.nullcontext():
        environ = os.environ | case.env
        done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_SECONDS)
    return list(json.loads(done.stdout)["findings"])


def named(case: Case, findings: list[dict[str, Any]]) -> bool:
    """Whether the failure is there under its name, about the GPU that has it and no other."""
    bad = [one for one in findings if one["severity"] in ("problem", "warning")]
    if not case.on_second:
        return any(one["id"] == case.expected for one in bad)
    well = any(one["gpu"] == 0 and one["severity"] == "ok" for one in findings)
    return (
        well
        and any(one["id"] == case.expected and one["gpu"] == 1 for one in bad)
        and all(one["gpu"] != 0 for one in bad)
    )


def main() -> int:
    """Bring about every case and print a table; `--only WORD` takes those with that word in their name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="only cases with this in their name")
    parser.add_argument("--two", action="store_true", help="also on the second of two GPUs")
    args = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        every = cases(Path(folder)), cases_of_two(Path(folder)) if args.two else ()
        for case in itertools.chain(*every):
            if args.only in case.name:
                started = time.monotonic()
                seen = found(case)
                missed += not (right := named(case, seen))
                print(f"{'named' if right else 'MISSED':6} {case.name:32} {time.monotonic() - started:5.1f} s")
                for one in seen:
                    if one["severity"] in ("problem", "warning") or case.on_second:
                        print(f"       {one['id']} of GPU {one['gpu']}: {one['title']}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

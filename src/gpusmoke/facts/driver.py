"""Facts that the NVIDIA driver's two libraries give, each asked in a child with a deadline, both at once."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path

from gpusmoke import python
from gpusmoke.facts import Fact, Json

HERE = Path(__file__).parent
# cuInit takes 0.3 s on a healthy H100 and a few seconds on a machine with many GPUs and no persistence mode.
DEADLINE_SECONDS = 20.0
GRACE_SECONDS = 2.0
UNASKED = "could not ask: "  # how a probe begins a sentence; any other answer is JSON


class Probe:
    """A probe program running in the background; `answer` waits for the one line that it prints."""

    def __init__(self, program: str) -> None:
        self.program, self.end_at = program, time.monotonic() + DEADLINE_SECONDS
        # -S: looking for packages anew takes longer than the question; the parent has found them already.
        self.process = subprocess.Popen(
            python.command("-S", str(HERE / program)),
            env=python.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self.line = self.last_words = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.reader.start()
        self.listener.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:  # to the end, or a talkative library would wait for ever
            self.last_words = line.strip()[:300] or self.last_words

    def answer(self) -> dict[str, Json]:
        """The probe's JSON object; {"error": sentence} where it hung, crashed or printed something else.

        Not waited for once it has answered: taking CUDA down again takes the driver a quarter as long as the answer.
        """
        self.reader.join(max(0.0, self.end_at - time.monotonic()))
        if self.reader.is_alive():
            self.process.kill()  # not waited for: a process stuck in the driver survives SIGKILL
            return {"error": f"no answer within {DEADLINE_SECONDS:.0f} s", "hung": True}
        if self.line.startswith(UNASKED):
            return {"error": self.line.removeprefix(UNASKED).strip()}
        try:
            answer = json.loads(self.line)
            if not isinstance(answer, dict):
                raise TypeError
        except (ValueError, TypeError):
            return {"error": f"{self.program} {self._end()}", "crashed": True}
        return answer

    def _end(self) -> str:
        try:
            code = self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return "printed no answer and does not end"
        self.listener.join(GRACE_SECONDS)
        return f"ended with {code}: {self.last_words or 'no message'}"


class DriverProbes:
    """Both probes, started when this is made so that other facts can be read meanwhile."""

    def __init__(self) -> None:
        self.cuda = Probe("probe_cuda.py")
        self.nvml = Probe("probe_nvml.py")

    def facts(self) -> dict[str, Fact]:
        """Facts named cuda.* and nvml.*; waits for both probes."""
        return {**cuda_facts(self.cuda.answer()), **nvml_facts(self.nvml.answer())}


def cuda_facts(answer: dict[str, Json]) -> dict[str, Fact]:
    """The CUDA probe's answer as facts."""
    reason = answer.get("error")
    version = answer.get("driver_version")
    return {
        "cuda.library": Fact(answer.get("library"), "loading libcuda.so.1", reason),
        "cuda.driver_version": Fact(version, "cuDriverGetVersion", reason or (None if version else "no version")),
        "cuda.init": Fact(answer.get("init"), "cuInit", reason),
        "cuda.refused_nodes": Fact(answer.get("refused"), "open() of /dev/nvidia*, after cuInit failed", reason),
        "cuda.devices": Fact(answer.get("devices"), "cuDeviceGet…", reason),
        **ended_oddly("cuda.probe", answer),
    }


def nvml_facts(answer: dict[str, Json]) -> dict[str, Fact]:
    """The NVML probe's answer as facts."""
    init = answer.get("init")
    reason = answer.get("error") or (init["text"] if isinstance(init, dict) and init.get("code") else None)
    return {
        "nvml.init": Fact(init, "nvmlInit", answer.get("error")),
        "nvml.driver_version": Fact(answer.get("driver_version"), "nvmlSystemGetDriverVersion", reason),
        "nvml.gpus": Fact(answer.get("gpus"), "nvmlDeviceGet…", reason),
        "nvml.pairs": Fact(answer.get("pairs"), "nvmlDeviceGetTopologyCommonAncestor, nvmlDeviceGetP2PStatus", reason),
        "nvml.unstarted_nodes": Fact(answer.get("unstarted"), "open() of /dev/nvidia*, where NVML has fewer", reason),
        **ended_oddly("nvml.probe", answer),
    }


def ended_oddly(name: str, answer: dict[str, Json]) -> dict[str, Fact]:
    """A fact of that name, "hung" or "crashed", where the probe gave no answer of its own; else none."""
    how = "hung" if answer.get("hung") else "crashed" if answer.get("crashed") else None
    return {name: Fact(how, "a child process", answer.get("error"))} if how else {}

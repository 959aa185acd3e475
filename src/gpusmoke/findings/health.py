"""What NVML's readings say of each GPU's health."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gpusmoke.facts import Facts, Json, objects
from gpusmoke.findings import Finding, catalogue, finding
from gpusmoke.measuring.clocks import SLOWED_DOWN, reason_names

COMPUTE_EXCLUSIVE_THREAD, COMPUTE_PROHIBITED, COMPUTE_EXCLUSIVE = 1, 2, 3
MEMORY_SHARE = 0.5  # of the whole, held by others, that leaves too little for a project
BUSY_PERCENT = 5  # of the time, by another program, before a measurement began
# What is the business of those who use a GPU, and not of others on the same machine.
OF_ITS_USERS = ("memory-taken", "compute-mode-prohibited")
# NVML_GPU_RECOVERY_ACTION_…: what the driver asks for, and the command.
RECOVERY_ACTIONS = {
    1: ("a reset of the GPU", "sudo nvidia-smi -r -i {index}"),
    2: ("a reboot of the machine", "sudo reboot"),
    3: ("no new work on its links to other GPUs", "sudo nvidia-smi -r -i {index}"),
    4: ("no new work, and then a reset", "sudo nvidia-smi -r -i {index}"),
    5: ("a recovery of the IMEX domain", "systemctl status nvidia-imex"),
}


def health(facts: Facts) -> Iterator[Finding]:
    """Every GPU's readings, one after the other; a reading that the card does not have says nothing."""
    ordinals = {str(row.get("uuid")): at for at, row in enumerate(facts.rows("cuda.devices")) if row.get("uuid")}
    for row in facts.rows("nvml.gpus"):
        # NVML counts all GPUs of the machine: the UUID says which one CUDA means by a number, if it sees it at all.
        gpu, index = ordinals.get(str(row.get("uuid"))), row.get("index")
        for kind, read, words in (*memory(row), *operation(row), *sharing(row)):
            evidence = [f"NVML GPU {index}: {read}"]
            if gpu is not None or not ordinals:
                yield finding(kind, evidence, gpu, **(words | {"index": index}))
            elif catalogue()[kind]["severity"] != "note" and kind not in OF_ITS_USERS:
                yield finding("other-gpu-unwell", evidence, None, index=index, what=kind)


def uuid_of(facts: Facts, ordinal: int) -> str | None:
    """The UUID of the GPU that CUDA calls `ordinal`, by which NVML knows it."""
    uuids = (row.get("uuid") for row in facts.rows("cuda.devices") if row.get("ordinal") == ordinal)
    uuid = next(uuids, None)
    return uuid if isinstance(uuid, str) else None


def nvml_row(facts: Facts, uuid: str | None) -> dict[str, Json]:
    """What NVML said of the GPU with this UUID before anything was measured."""
    return next((row for row in facts.rows("nvml.gpus") if uuid is not None and row.get("uuid") == uuid), {})


Reading = tuple[str, str, dict[str, object]]


def number(row: Mapping[str, Json], name: str) -> float | None:
    """A reading, where it is a number."""
    value = row.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def memory(row: Mapping[str, Json]) -> Iterator[Reading]:
    """Errors of the memory, and what is waiting for a reboot because of them."""
    if count := number(row, "ecc_uncorrected"):
        yield "ecc-errors", f"ecc_uncorrected: {count}", {"count": count}
    remapped = row.get("remapped_rows")
    if isinstance(remapped, dict):
        if remapped.get("failure"):
            yield "row-remap-failed", f"remapped_rows: {remapped}", {}
        if remapped.get("pending"):
            yield "row-remap-pending", f"remapped_rows: {remapped}", {}
    if row.get("retired_pages_pending"):
        yield "page-retirement-pending", f"retired_pages_pending: {row['retired_pages_pending']}", {}
    now, then = number(row, "ecc_mode"), number(row, "ecc_mode_pending")
    if now is not None and then is not None and now != then:
        yield "ecc-change-pending", f"ecc_mode: {now}, pending {then}", {"state": "on" if then else "off"}
    unread = row.get("unread")
    if isinstance(unread, dict) and "Not Supported" in str(unread.get("memory_mib")):
        yield "memory-not-reported", f"memory: {unread['memory_mib']}", {}


def operation(row: Mapping[str, Json]) -> Iterator[Reading]:
    """What slows the card down, and what the driver wants to be done."""
    reasons = row.get("clock_reasons")
    if isinstance(reasons, int) and reasons & SLOWED_DOWN:
        names = ", ".join(reason_names(reasons & SLOWED_DOWN))
        yield "throttled", f"clock_reasons: {reasons:#x}", {"reasons": names}
    limit, default = number(row, "power_limit_w"), number(row, "power_limit_default_w")
    if limit is not None and default is not None and round(limit) < round(default):
        words: dict[str, object] = {"limit": round(limit), "default": round(default)}
        yield "power-cap-lowered", f"power_limit_w: {limit}, default {default}", words
    action = row.get("recovery_action")
    if isinstance(action, int) and action:
        what, command = RECOVERY_ACTIONS.get(action, (f"number {action}", "nvidia-smi -q | grep -i recovery"))
        words = {"action": what, "command": command.format(index=row.get("index"))}
        yield "recovery-action-needed", f"recovery_action: {action}", words


def sharing(row: Mapping[str, Json]) -> Iterator[Reading]:
    """Who may use the card, and who does."""
    mode = row.get("compute_mode")
    if mode == COMPUTE_PROHIBITED:
        yield "compute-mode-prohibited", f"compute_mode: {mode}", {}
    elif mode in (COMPUTE_EXCLUSIVE_THREAD, COMPUTE_EXCLUSIVE):
        yield "compute-mode-exclusive", f"compute_mode: {mode}", {}
    used, total = number(row, "memory_used_mib"), number(row, "memory_mib")
    if used and total and used > MEMORY_SHARE * total:
        held = ", ".join(f"process {p.get('pid')} {p.get('mib')} MiB" for p in objects(row.get("processes")))
        words: dict[str, object] = {"used": f"{used / 1024:.0f}", "total": f"{total / 1024:.0f}"}
        yield "memory-taken", f"memory_used_mib: {used} of {total}; {held or 'no process is told'}", words
    if row.get("mig_mode") == 1 and (count := number(row, "mig_devices")):
        yield "mig-enabled", f"mig_devices: {count}", {"count": count}

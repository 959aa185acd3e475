"""Findings as annotations of a GitHub Actions run, so that they stand on the run's page and not only in its log."""

from __future__ import annotations

import sys

from gpusmoke.record import Record

COMMANDS = {"problem": "error", "warning": "warning"}


def escaped(text: str, more: dict[str, str] | None = None) -> str:
    """The text as a workflow command takes it. Source: github.com/actions/toolkit, packages/core/src/command.ts."""
    for plain, code in {"%": "%25", "\r": "%0D", "\n": "%0A", **(more or {})}.items():
        text = text.replace(plain, code)
    return text


def annotate(record: Record) -> None:
    """Print a workflow command for each problem and warning, on standard error: a record may be on the other."""
    for found in record.findings:
        if command := COMMANDS.get(found.severity):
            title = escaped(f"{record.command}: {found.id}", {":": "%3A", ",": "%2C"})
            about = "" if found.gpu is None else f"GPU {found.gpu}: "
            text = "\n".join([about + found.title, *(f"try: {step}" for step in found.advice)])
            print(f"::{command} title={title}::{escaped(text)}", file=sys.stderr)

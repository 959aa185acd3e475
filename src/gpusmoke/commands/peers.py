"""The child that copies from GPU to GPU, which check, bench and smoke have beside those that exercise one GPU each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gpusmoke.commands.session import Session
from gpusmoke.facts import Fact
from gpusmoke.findings.links import apart
from gpusmoke.presentation.progress import Progress
from gpusmoke.workers.parent import Crew

DEADLINE_SECONDS = 180.0
SILENCE_SECONDS = 30.0  # without a copy that has ended: a pair takes some hundredths of a second


@contextlib.contextmanager
def links_after(
    session: Session, crew: Crew, progress: Progress, measure: bool, hurried: bool = False
) -> Iterator[None]:
    """Have the copies made when the block, in which the crew works, has been left; of two GPUs that are well, at least.

    Their child starts now, to import PyTorch meanwhile, and opens no GPU before it is told which ones. Where the run
    is `hurried`, it has no more time than the crew has left.
    """
    seconds = min(SILENCE_SECONDS, crew.deadline_seconds)
    with contextlib.ExitStack() as stack:
        links = None
        if len(crew.workers) > 1:
            links = stack.enter_context(Crew("links", min(DEADLINE_SECONDS, crew.deadline_seconds), seconds))
            links.recruit(0)
        yield
        used = {gpu: str(session.facts.row(f"{crew.job}.{gpu}").get("device")) for gpu in crew.well()}
        gpus = [gpu for gpu, device in used.items() if device.startswith("cuda")]  # PyTorch may see none of them
        if links is not None and len(gpus) > 1:
            session.facts = session.facts.with_facts({"request.links_deadline": Fact(seconds, "the program itself")})
            links.allow(crew.seconds_left if hurried else links.deadline_seconds)
            links.start(0, {"gpus": gpus, "at_once": apart(session.facts, gpus), "measure": measure})
            session.wait_for(links, progress)

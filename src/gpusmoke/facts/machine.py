"""All facts that need no PyTorch, gathered while the driver's libraries and Pixi are still answering."""

from __future__ import annotations

from gpusmoke.facts import Facts
from gpusmoke.facts.driver import DriverProbes


class Machine:
    """Making one starts the questions that take longest; `facts` waits for the answers."""

    def __init__(self) -> None:
        self._probes = DriverProbes()
        # Imported only now, as is whatever the caller imports before it asks for the facts: CUDA takes longer to start.
        from gpusmoke.facts import workspace

        self._workspace, self._project = workspace, workspace.project_root()
        self._pixi = workspace.PixiInfo(self._project)

    def facts(self) -> Facts:
        """Every fact. Raises UsageError where the workspace's manifest or lock can't be read."""
        from gpusmoke.facts.host import host_facts

        manifest = self._workspace.read_manifest(self._project)
        host = host_facts()
        return Facts(
            {**host, **self._workspace.workspace_facts(self._project, manifest, self._pixi), **self._probes.facts()}
        )

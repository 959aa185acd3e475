"""Where a project's own code begins."""

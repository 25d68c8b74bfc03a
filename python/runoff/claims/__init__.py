"""Claims checked on this machine: those of published comparisons, and those of somebody else's run."""

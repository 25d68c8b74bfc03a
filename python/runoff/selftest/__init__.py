"""``runoff selftest``: proof on this machine that the harness finds what is there, and nothing else."""

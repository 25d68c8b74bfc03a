"""The Python runners: one program a target, started with ``--request`` and ``--result``."""

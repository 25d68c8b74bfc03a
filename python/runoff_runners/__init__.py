"""The Python runners: one program per target, started with ``--request`` and ``--result``."""

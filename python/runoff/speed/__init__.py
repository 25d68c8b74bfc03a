"""``nox -s speed``: ratios with bars, all of them measured interleaved in one run.

`rows` says what is compared, `meters` measures it round by round, `ratios` makes a ratio with its interval of the
samples, `report` writes the table. ``python -m runoff.speed`` is the command.
"""

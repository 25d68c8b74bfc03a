"""Runs programs on PyTorch as forks of this process, which has imported it: that takes seconds.

A line of JSON on stdin has `argv`, `env`, and the files for `out` and `err`; the answer is a line with the exit code.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import traceback
from typing import Any

import numpy as np  # noqa: F401 (for the forks)
import torch  # noqa: F401

LONGEST_S = 120


def become(argv: list[str], env: dict[str, str], **files: str) -> Any:
    """Run a program in this process as if it was just started; return what it ends with."""
    signal.alarm(LONGEST_S)
    for number, path in enumerate((os.devnull, files["out"], files["err"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = env["PYTHONPATH"].split(os.pathsep)
    sys.argv = argv
    try:
        runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as left:
        return left.code
    except BaseException:  # noqa: BLE001 (whatever a program may raise)
        traceback.print_exc()
        return 1
    return 0


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        code = become(**json.loads(line))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
    sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
    sys.stdout.flush()

"""Where coremltools has no wheel, the conversion says where it works."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
sys.modules["coremltools"] = None
from runoff.models.export import main
sys.exit(main(["efficientnet-lite0", "--store", "/nowhere", "--coreml"]))
"""


def test_the_error_names_platforms_and_pythons() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    message, hint = ended.stderr.split("; ", 1)
    assert message == "error: coremltools has no wheel for this platform and Python"
    assert hint.startswith("with Python 3.13 or older, on x86-64 Linux or a Mac, run: runoff export")

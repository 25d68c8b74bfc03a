"""The target `tract-python`: what runoff asks this package for, by the entry point ``runoff.targets``."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runoff.plan.target import Preparation
from runoff.plugins import Environment, Plugin
from runoff.targets.base import python_target

if TYPE_CHECKING:
    from runoff.plan.target import Target

FOLDER = Path(__file__).parent
HAS_WHEEL = (sys.platform, platform.machine()) in {("linux", "x86_64"), ("darwin", "arm64"), ("darwin", "x86_64")}


def plugin() -> Plugin:
    """Return the target and its environment."""
    return Plugin(
        targets={"tract-python": tract_python},
        environments={"tract": Environment("tract", 40, automatic=HAS_WHEEL, pins=FOLDER / "requirements.txt")},
    )


def tract_python() -> Target:
    """Return the target on tract's wheel."""
    runner = str(FOLDER / "target_tract.py")
    return python_target("tract-python", runner, environment="tract", prepares=Preparation("nnef"))

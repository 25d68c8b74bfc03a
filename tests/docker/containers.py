"""Containers of the images, as the tests start them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

IMAGES = os.environ.get("RUNOFF_IMAGES", "cpu cuda").split()
CALLER = "12345:12345"
"""A user unknown to the images."""


@dataclass(frozen=True)
class Image:
    """An image of runoff."""

    kind: str
    """``cpu`` or ``cuda``."""

    def run(self, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run ``runoff ARGUMENTS`` in a container without a network."""
        return subprocess.run(self.command(*arguments, options=options), capture_output=True, text=True, check=False)

    def shell(self, script: str, options: tuple[str, ...] = ()) -> str:
        """Return the output of a shell script in a container."""
        command = self.command("-c", script, options=(*options, "--entrypoint", "sh"))
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def command(self, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the command line."""
        isolated = ("--rm", "--pull", "never", "--network", "none", *options)
        return ["docker", "run", *isolated, f"runoff:{self.kind}", *arguments]

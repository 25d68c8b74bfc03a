"""Build the images of runoff: ``python docker/build.py [cpu] [cuda] [options of docker build]``.

The exit code is 3, after one line, if no Docker engine responds.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = {"cpu": "6 GB, with PyTorch's CPU wheels less", "cuda": "6.5 GB"}
UNAVAILABLE = 3


def main() -> int:
    """Build the images named on the command line, or both; return the exit code of docker."""
    if not engine_answers():
        print("no Docker engine found by `docker info`; install one: https://docs.docker.com/engine/install")  # noqa: T201
        return UNAVAILABLE
    kinds, options = split(sys.argv[1:])
    for kind in kinds:
        print(f"building runoff:{kind} (first time 10 to 30 min, {IMAGES[kind]})", flush=True)  # noqa: T201
        image = ["--build-arg", f"KIND={kind}", "--tag", f"runoff:{kind}"]
        where = ["--file", str(ROOT / "docker" / "Dockerfile"), str(ROOT)]
        ended = subprocess.run(["docker", "build", *options, *image, *where], check=False)
        if ended.returncode:
            return ended.returncode
    return 0


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the images among `words`, all if none is named, and the other words as docker's options."""
    kinds = [word for word in words if word in IMAGES]
    return kinds or list(IMAGES), [word for word in words if word not in IMAGES]


def engine_answers() -> bool:
    """Return whether this user can access a Docker engine."""
    command = ["docker", "info", "--format", "{{.ServerVersion}}"]
    return bool(shutil.which("docker")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())

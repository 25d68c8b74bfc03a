"""Measure the suite `speed`, check its limits, and publish the run if they hold: ``nox -s speed [-- OPTIONS]``."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from runoff import paths

HERE = Path(__file__).parent


def main(options: list[str]) -> None:
    """Measure with the `options` of ``runoff bench``.

    Raises
    ------
    subprocess.CalledProcessError
        If measuring fails, a limit is exceeded or publishing fails.
    SystemExit
        If there is no new run.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path, default=paths.results())
    results = parser.parse_known_args(options)[0].results
    earlier = set(results.glob("speed-*"))
    run("runoff", "bench", "speed", *options)
    new = sorted(set(results.glob("speed-*")) - earlier)
    if not new:
        sys.exit(f"no new run in {results}: nothing is published")
    summary = new[-1] / "gate.md"
    run("runoff", "gate", str(new[-1]), "--limits", str(HERE / "limits.toml"), "--summary", str(summary))
    run("runoff.report.publish", str(new[-1]))


def run(*command: str) -> None:
    """Run a module of runoff."""
    subprocess.run([sys.executable, "-m", *command], check=True)


if __name__ == "__main__":
    # runoff ends itself after Ctrl-C, and saves
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)

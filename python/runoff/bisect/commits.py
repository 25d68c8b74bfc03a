"""Commits of the user's own runner: which there are, and a checkout of each in which it was built."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff import paths
from runoff.environments import made_once
from runoff.plan.suite import CustomTarget
from runoff.records.errors import RunoffError
from runoff.targets import find_targets

if TYPE_CHECKING:
    from runoff.environments import Say
    from runoff.plan.target import Target


class Repository(Struct, frozen=True, kw_only=True):
    """A runner in a Git repository."""

    folder: Path
    """In the repository, or below it; both commands start there."""
    runner: CustomTarget
    build: str = ""
    """Shell command that builds the runner; empty if there is nothing to build."""

    @property
    def name(self) -> str:
        """Name of the runner as a target."""
        return re.sub(r"[^A-Za-z0-9_-]+", "-", self.folder.absolute().name).strip("-") or "runner"

    def commits(self, span: str) -> list[str]:
        """Return the short names of the commits in `span`, oldest first: ``v1.0..main``, or ``v1.0,4e7c0b1,main``.

        Those of a span are on the first-parent line, with both ends.

        Raises
        ------
        RunoffError
            If the folder is not in a repository, or has no such commits.
        """
        oldest, dots, newest = span.partition("..")
        if not dots:
            return list(dict.fromkeys(self._short(name.strip()) for name in span.split(",")))
        ends = self._short(oldest), self._short(newest or "HEAD")
        # another line of history has no commits between
        self._git("merge-base", "--is-ancestor", *ends, what=f"{oldest} is not an ancestor of {newest or 'HEAD'}")
        later = self._git("rev-list", "--reverse", "--first-parent", "--abbrev-commit", f"{ends[0]}..{ends[1]}")
        return [ends[0], *later.split()]

    def target(self, commit: str, say: Say) -> Target:
        """Return the runner of a commit, which is checked out and built unless it was before.

        Raises
        ------
        RunoffError
            If it cannot be built, or the command is not found there.
        """
        key = hashlib.sha256(f"{self.folder.absolute()}\n{self.build}".encode()).hexdigest()[:8]
        clone = paths.home() / "commits" / f"{self.name}-{commit}-{key}"
        top, below = self._git("rev-parse", "--show-toplevel", "--show-prefix").splitlines()

        def make() -> None:
            say(f"building {commit}" if self.build else f"checking out {commit}")
            # a clone has what a build may ask Git for, and leaves the repository as it is
            self._git("clone", "--quiet", "--shared", "--no-checkout", top, str(clone))
            _run("git", "-C", str(clone), "checkout", "--quiet", "--detach", commit)
            if self.build:
                _run("sh", "-c", self.build, folder=clone / below, what=f"{commit}: {self.build!r} failed")

        made_once(clone, say, make)
        return find_targets([self.name], {self.name: self.runner}, clone / below)[self.name]

    def _short(self, name: str) -> str:
        """Return the short name of a commit."""
        asked = ("rev-parse", "--verify", "--quiet", "--short", "--end-of-options", f"{name}^{{commit}}")
        return self._git(*asked, what=f"no commit {name!r} in {self.folder}").strip()

    def _git(self, *arguments: str, what: str = "") -> str:
        return _run("git", "-C", str(self.folder), *arguments, what=what)


def own_repository(package: str, command: str | None, build: str | None) -> Repository | None:
    """Return the repository at the folder `package`, with the `command` of its runner; None for the name of a package.

    Raises
    ------
    RunoffError
        If `command` is missing, or given for a package.
    """
    folder = Path(package)
    if "/" not in package and package not in (".", ".."):
        if command or build:
            raise RunoffError(f"--command and --build are for a folder, not for {package}", f"write ./{package}")
        return None
    if not folder.is_dir():
        raise RunoffError(f"no such folder: {package}", "name a package, or a folder with a Git repository")
    try:
        words = tuple(shlex.split(command or ""))
    except ValueError as error:
        raise RunoffError(f"--command: {error}", "quote it as for a shell") from error
    if not words:
        raise RunoffError(f"{package}: which program is the runner?", "add --command 'python runner.py'")
    return Repository(folder=folder, runner=CustomTarget(command=words), build=build or "")


def _run(*command: str, folder: Path | None = None, what: str = "") -> str:
    """Return the output of a command; `what` is the message if it fails."""
    if shutil.which(command[0]) is None:
        raise RunoffError(f"{command[0]} not found", f"install {command[0]}")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        *_, reason = ["", *(done.stderr or done.stdout).strip().splitlines()]
        raise RunoffError(": ".join(filter(None, (what, reason.strip()))), "check the folder, the commits and --build")
    return done.stdout

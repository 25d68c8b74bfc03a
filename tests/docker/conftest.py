"""The images built by `nox -s docker`, and the folders mounted into their containers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from containers import CALLER, IMAGES, Image

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=IMAGES, scope="session")
def image(request: pytest.FixtureRequest) -> Image:
    """Return each image."""
    return Image(request.param)


@pytest.fixture
def cuda() -> Image:
    """Return the image for CUDA, or skip the test if only the other is tested."""
    if "cuda" not in IMAGES:
        pytest.skip("runoff:cuda is not among the images to test")
    return Image("cuda")


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """Return a folder owned by `CALLER`."""
    folder = tmp_path / "results"
    folder.mkdir()
    # if the tests do not run as root, the caller is the current user
    if os.geteuid() == 0:
        os.chown(folder, *map(int, CALLER.split(":")))
    tmp_path.chmod(0o755)
    return folder


@pytest.fixture
def caller() -> str:
    """Return the user and group that the containers of a test run as."""
    return CALLER if os.geteuid() == 0 else f"{os.geteuid()}:{os.getegid()}"

"""A page of a synthetic run, and a real Chromium to read it."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# the synthetic run is that of the unit tests
sys.path.append(str(Path(__file__).parents[1] / "unit"))

from reading import find_chromium, opened_page, started_chromium
from synthetic import case_of, synthetic_run

from machine import skip_because
from runoff.analysis.analyse import analyse
from runoff.records.reason import Reason
from runoff.report.build import write_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from playwright.sync_api import Browser
    from reading import Opened


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a ``report.html`` with every kind of section of a machine without counters."""
    folder = tmp_path_factory.mktemp("run")
    run = synthetic_run(folder, profiles=("default", "cold"), batches=(1, 4), blocks=6, warm=20, live=True)
    reason = Reason("provider-unavailable", "'cuda' needs an NVIDIA GPU, and this machine has no driver", "use one")
    run.info.cases = (*run.info.cases, case_of("ort-web", skipped=reason))
    (folder / "raw").mkdir(exist_ok=True)
    (folder / "raw" / "net.classify.torch.life.jsonl").write_text("{}\n")
    (folder / "run.json").write_text("{}\n")
    return next(path for path in write_report(analyse(run)) if path.name == "report.html")


# not for the session: other tests that run in this process must not meet its event loop
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Chromium, headless; skip the tests if there is none."""
    try:
        find_chromium()
    except FileNotFoundError as error:
        skip_because(str(error))
    with started_chromium() as started:
        yield started


@pytest.fixture
def reading(browser: Browser, report: Path) -> Callable[..., AbstractContextManager[Opened]]:
    """Return a function that opens the page; its keywords are those of a Playwright context."""
    return partial(opened_page, browser, report.as_uri())

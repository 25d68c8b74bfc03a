"""One run of runoff for all selected benchmarks, and its table."""

from __future__ import annotations

import sys

import pytest
from rich.console import Console
from table import Table

_TIME = "3m"
_TABLE: pytest.StashKey[Table] = pytest.StashKey()


@pytest.fixture(scope="session")
def measured(request: pytest.FixtureRequest) -> Table:
    """Return the run of the cases of the selected tests."""
    config, options = request.config, request.config.option
    selected = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    cases = dict.fromkeys((case["model"], case["target"]) for case in selected)
    time = options.runoff_time or _TIME
    config.stash[_TABLE] = Table(cases, config.rootpath, options.runoff_results, time)
    return config.stash[_TABLE]


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(config: pytest.Config) -> None:
    """Print the table, after pytest-benchmark's."""
    if _TABLE in config.stash:
        config.stash[_TABLE].print(Console(width=None if sys.stdout.isatty() else 120))

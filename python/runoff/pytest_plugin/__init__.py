"""The pytest plugin: the fixture ``runoff`` measures cases in a test, and checks limits.

pytest imports this module in every run of an environment that has runoff, so runoff itself is imported by the fixture.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runoff.pytest_plugin.cases import Runoff
    from runoff.pytest_plugin.measuring import Measuring

PROPERTY = "runoff"
"""Property of a test's report: the text of a check, and the marker of tests with the fixture."""
TIME = "1m"
_MEASURING: pytest.StashKey[Measuring] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("runoff", "benchmarks of runoff")
    group.addoption(
        "--runoff-time",
        metavar="TIME",
        help=f"Time budget of a check; sampling stops earlier if its interval is narrow enough.  [default: {TIME}]",
    )
    group.addoption(
        "--runoff-results", type=Path, metavar="DIR", help="Folder of the runs.  [default: that of runoff bench]"
    )
    group.addoption(
        "--runoff-save-baselines",
        action="store_true",
        help="Save the baseline files of not_slower_than(FILE), instead of comparing with them.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of tests that measure."""
    config.addinivalue_line("markers", f"{PROPERTY}: measures with runoff (set on each test with that fixture)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that measure, so ``-m "not runoff"`` deselects them."""
    for item in items:
        if PROPERTY in getattr(item, "fixturenames", ()):
            item.add_marker(PROPERTY)


@pytest.fixture
def runoff(request: pytest.FixtureRequest) -> Runoff:
    """Measure cases with runoff, and check limits: ``runoff.case(model=..., target=...).latency().below("5 ms")``."""
    config = request.config
    if hasattr(config, "workerinput"):
        pytest.skip("measures alone, not in a worker of pytest-xdist; run: pytest -n 0 -m runoff")
    from runoff.pytest_plugin.cases import Runoff
    from runoff.pytest_plugin.measuring import Measuring

    if _MEASURING not in config.stash:
        options = config.option
        config.stash[_MEASURING] = Measuring(
            config.rootpath, options.runoff_results, options.runoff_time or TIME, save=options.runoff_save_baselines
        )
    return Runoff(config.stash[_MEASURING], request.node)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print every check: what was measured, and whether that is conclusive."""
    if _MEASURING in config.stash:
        terminalreporter.section("runoff")
        for line in _checks(terminalreporter):
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"runs: {config.stash[_MEASURING].results}")


def _checks(reporter: pytest.TerminalReporter) -> Iterator[str]:
    for outcome in ("passed", "failed"):
        for report in reporter.getreports(outcome):
            texts = dict.fromkeys(text for name, text in report.user_properties if name == PROPERTY)
            yield from (f"{outcome}: {report.nodeid}: {text}" for text in texts)

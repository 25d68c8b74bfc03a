"""Twenty A/A comparisons and twenty injected slowdowns through the pytest plugin: ``pytest tools/pytest_trials.py``.

Every attempt is a run of its own. It takes about ten minutes; the summary at the end lists all forty checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runoff.selftest.suites import pick_model, runner

if TYPE_CHECKING:
    from runoff.pytest_plugin.cases import Case, Runoff

ATTEMPTS = 20
SLOWER, MARGIN = 0.1, "5%"


def case(runoff: Runoff, name: str, share: float) -> Case:
    """Return the injected runner, called `name`, that takes longer by `share`."""
    target = runner("slow", share)
    table: dict[str, Any] = {"name": name, "command": target.command, "env": target.env}
    return runoff.case(pick_model(), table)


@pytest.mark.parametrize("attempt", range(ATTEMPTS))
def test_an_a_a_passes(runoff: Runoff, attempt: int) -> None:
    """The same program under two names is not slower."""
    case(runoff, f"same-{attempt}", 0.0).latency().not_slower_than(case(runoff, "main", 0.0), MARGIN)


@pytest.mark.parametrize("attempt", range(ATTEMPTS))
def test_a_slowdown_fails(runoff: Runoff, attempt: int) -> None:
    """A program that burns CPU for a tenth of each inference is slower."""
    slow = case(runoff, f"slow-{attempt}", SLOWER).latency()
    with pytest.raises(pytest.fail.Exception, match=r" slower than main .* over"):
        slow.not_slower_than(case(runoff, "main", 0.0), MARGIN)

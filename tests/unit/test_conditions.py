"""Conditions of the machine, from constant or jumping counters, and from the real ones."""

from __future__ import annotations

import msgspec
import pytest

import runoff.measure.conditions
from runoff.measure.conditions import Snapshot, conditions_since, take_snapshot

BEFORE = Snapshot(clock_ns=0, all_s=0.0, busy_s=0.0, steal_s=0.0, mhz=3000.0, throttled_ns=0.0)
NOW = Snapshot(
    clock_ns=2_000_000_000, all_s=4.0, busy_s=3.0, steal_s=0.2, mhz=2000.0, throttled_ns=5e8, runoff_ns=500_000_000
)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runoff.measure.conditions, "take_snapshot", lambda: NOW)


@pytest.mark.usefixtures("now")
def test_shares_have_the_stated_denominators() -> None:
    found = conditions_since(BEFORE, spent_ns=1_500_000_000, switches=7)
    assert (found.steal, found.others, found.mhz) == (0.05, 0.5, 2500.0)
    assert (found.throttled, found.switches) == (0.25, 7)


@pytest.mark.usefixtures("now")
def test_unreported_values_are_none() -> None:
    found = conditions_since(msgspec.structs.replace(BEFORE, steal_s=None, mhz=None, throttled_ns=None), 0)
    assert (found.steal, found.throttled, found.switches) == (None, None, None)
    assert found.mhz == 2000.0


def test_the_real_counters_advance() -> None:
    before = take_snapshot()
    total = sum(number * number for number in range(3_000_000))
    after = take_snapshot()
    assert total > 0
    assert after.clock_ns > before.clock_ns
    assert after.all_s >= before.all_s
    assert after.busy_s >= before.busy_s
    assert conditions_since(before, 0).load is not None

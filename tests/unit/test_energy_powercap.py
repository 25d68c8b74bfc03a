"""RAPL by powercap, on trees of the kernel's structure: wrap-around, missing permission, dead counters."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runoff.measure.energy import powercap
from runoff.measure.energy.meter import MeterError, difference
from runoff.measure.energy.powercap import GRANT, Powercap, find_powercap
from runoff.processes import Spawner
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

RANGE_UJ = 262_143_328_850
"""Of an Intel package: 2^32 steps of 61 microjoules."""
NOBODY = 65534


def zone(root: Path, place: str, name: str, uj: int = 0, range_uj: int | None = RANGE_UJ) -> Path:
    """Write a zone in the kernel's layout, and return its counter."""
    folder = root / f"intel-rapl:{place}"
    folder.mkdir()
    (folder / "name").write_text(f"{name}\n")
    if range_uj is not None:
        (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (folder / "energy_uj").write_text(f"{uj}\n")
    return folder / "energy_uj"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(powercap, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """Return a public folder; the test may drop root, which can read everything, and gets it back afterwards."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        before = os.geteuid()
        yield Path(name)
        os.seteuid(before)


def found(tmp_path: Path) -> Powercap:
    meter = find_powercap()
    assert isinstance(meter, Powercap)
    meter.open(Spawner(tmp_path / "log"), tmp_path)
    return meter


def test_zones_become_domains_and_packages_are_added_up(tree: Path) -> None:
    first, second = zone(tree, "0", "package-0", 5_000_000), zone(tree, "1", "package-1", 7_000_000)
    core, dram = zone(tree, "0:0", "core", 1_000_000), zone(tree, "0:1", "dram", 900)
    zone(tree, "2", "psys")
    (tree / "intel-rapl").mkdir()
    meter = found(tree)
    assert meter.info.domains == {
        "package": "processor package",
        "core": "cores of the package",
        "dram": "memory",
        "psys": "machine",
    }
    first.write_text("6500000\n")
    second.write_text("9000000\n")
    core.write_text("1250000\n")
    dram.write_text("1000\n")
    assert meter.read().joules == pytest.approx({"package": 3.5, "core": 0.25, "dram": 0.0001, "psys": 0.0})


def test_the_resolution_is_that_of_the_32_bits(tree: Path) -> None:
    zone(tree, "0", "package-0")
    assert found(tree).info.resolution_j == pytest.approx(61.035e-6, rel=1e-4)


def test_a_wrap_around_between_two_readings_is_added(tree: Path) -> None:
    counter = zone(tree, "0", "package-0", RANGE_UJ - 1_500_000)
    meter = found(tree)
    counter.write_text("500000\n")
    assert meter.read().joules["package"] == pytest.approx(2.0)
    counter.write_text("1500000\n")
    assert meter.read().joules["package"] == pytest.approx(3.0)


def test_each_package_wraps_around_by_itself(tree: Path) -> None:
    first, second = zone(tree, "0", "package-0", RANGE_UJ - 1_000_000), zone(tree, "1", "package-1", 10)
    meter = found(tree)
    first.write_text("0\n")
    second.write_text("1000010\n")
    assert meter.read().joules["package"] == pytest.approx(2.0)


def test_a_counter_that_may_have_wrapped_twice_is_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = zone(tree, "0", "package-0", 10)
    now = [10**9]
    monkeypatch.setattr("runoff.measure.energy.powercap.time.monotonic_ns", lambda: now[0])
    meter = found(tree)
    now[0] += 400 * 10**9
    counter.write_text("20\n")
    assert meter.read().joules["package"] == pytest.approx(10e-6)
    now[0] += 450 * 10**9
    with pytest.raises(MeterError, match=r"450 s between two readings .* wraps around after 262,143 J"):
        meter.read()


def test_a_counter_that_only_root_may_read_names_the_command(as_nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(powercap, "ROOT", as_nobody)
    zone(as_nobody, "0", "package-0").chmod(0o400)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    else:
        (as_nobody / "intel-rapl:0" / "energy_uj").chmod(0)
    reason = find_powercap()
    assert isinstance(reason, Reason)
    assert reason.kind == "permission"
    assert reason.message == f"{as_nobody}/intel-rapl:0/energy_uj is readable by root only"
    assert reason.hint == f"run: {GRANT}"


def test_a_domain_with_an_unreadable_package_is_omitted(tree: Path) -> None:
    zone(tree, "0", "package-0")
    broken = zone(tree, "1", "package-1")
    broken.unlink()
    broken.mkdir()
    zone(tree, "0:0", "core")
    meter = found(tree)
    assert set(meter.info.domains) == {"core"}
    assert "energy_uj cannot be read" in meter.info.unavailable["package"]


def test_without_its_range_a_counter_is_not_used(tree: Path) -> None:
    zone(tree, "0", "package-0", range_uj=None)
    reason = find_powercap()
    assert isinstance(reason, Reason)
    assert "a wrap-around would not be detected" in reason.message


def test_no_tree_at_all(tree: Path) -> None:
    reason = find_powercap()
    assert isinstance(reason, Reason)
    assert reason.message == f"no RAPL zone under {tree}: usual on virtual machines"


def test_a_vanished_counter_ends_the_reading(tree: Path) -> None:
    counter = zone(tree, "0", "package-0")
    meter = found(tree)
    counter.unlink()
    with pytest.raises(MeterError, match="can no longer be read"):
        meter.read()


def test_a_counter_that_stands_still_while_work_is_done_is_dead_and_not_zero(tree: Path) -> None:
    package = zone(tree, "0", "package-0")
    zone(tree, "0:0", "core")
    zone(tree, "0:1", "uncore")
    meter = found(tree)
    begun = meter.read()
    package.write_text("3000000\n")
    ended = meter.read()
    joules, silent = difference(meter, begun, ended, at_work=True)
    assert joules == pytest.approx({"package": 3.0})
    assert silent["core"].startswith("dead counter: core did not move in ")
    assert silent["uncore"].endswith("not in use, or dead")
    at_rest, nothing = difference(meter, begun, ended, at_work=False)
    assert at_rest == pytest.approx({"package": 3.0, "core": 0.0, "uncore": 0.0})
    assert nothing == {}

"""powermetrics: complete and truncated blocks in its structure, and a program that writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from energy_streams import ENERGIES, every_tenth, plist, program
from hypothesis import given
from hypothesis import strategies as st

from runoff.measure.energy import powermetrics, stream
from runoff.measure.energy.meter import MeterError, Reading, difference
from runoff.measure.energy.powermetrics import GRANT, find_powermetrics, make_meter, read_intervals
from runoff.processes import Finished, Spawner
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.clock

DOMAINS = ("cpu", "gpu", "neural-engine")
BLOCK = plist().encode()


@pytest.fixture
def spawner(tmp_path: Path) -> Iterator[Spawner]:
    with Spawner(tmp_path / "log") as made:
        yield made


@pytest.mark.parametrize(
    "text",
    [
        BLOCK + b"\0" + BLOCK,
        b"\0" + BLOCK + b"\0" + BLOCK,
        BLOCK + b"\0" + BLOCK + b"\0",
        BLOCK + b"\n\0\n" + BLOCK + b"\0\0",
        BLOCK + b"\0" + BLOCK + b"\0" + BLOCK[: len(BLOCK) // 2],
        BLOCK + b"\0" + BLOCK + b"\0<?xml version",
    ],
    ids=["between", "leading", "trailing", "doubled", "cut", "cut at once"],
)
def test_nul_bytes_and_a_truncated_block_are_skipped(text: bytes) -> None:
    assert [sample.joules for sample in read_intervals(text)] == [{"cpu": 0.12, "gpu": 0.007, "neural-engine": 0.0}] * 2


@given(st.integers(0, len(BLOCK)))
def test_wherever_the_stream_is_cut_only_whole_blocks_count(length: int) -> None:
    assert len(read_intervals(BLOCK + b"\0" + BLOCK[:length])) == (1 if length < BLOCK.index(b"</plist>") + 8 else 2)


@pytest.mark.parametrize("clusters", [("E0-Cluster", "P0-Cluster", "P1-Cluster"), ("CPU 0",), ()])
def test_clusters_may_have_any_name(clusters: tuple[str, ...]) -> None:
    (sample,) = read_intervals(plist(clusters=clusters).encode())
    assert (sample.elapsed_ns, sample.joules["cpu"]) == (100_000_000, 0.12)


def test_a_key_that_is_not_printed_is_no_domain() -> None:
    (sample,) = read_intervals(plist({"cpu_energy": 5}).encode())
    assert sample.joules == {"cpu": 0.005}


def test_a_block_without_a_duration_is_reported() -> None:
    with pytest.raises(MeterError, match=r"is invalid.*elapsed_ns"):
        read_intervals(BLOCK.replace(b"elapsed_ns", b"elapsed"))


def test_counters_that_stay_at_zero_while_cores_are_busy_are_dead() -> None:
    meter = make_meter(("powermetrics",), DOMAINS)
    begun = Reading(0, dict.fromkeys((*DOMAINS, "soc"), 0.0))
    ended = Reading(5 * 10**9, {**begun.joules, "gpu": 0.4, "soc": 0.4})
    joules, silent = difference(meter, begun, ended, at_work=True)
    assert joules == {"gpu": 0.4}
    assert silent["cpu"] == "dead counter: cpu did not move in 5.0 s of work"
    assert silent["soc"] == "dead counter: cpu did not move in 5.0 s of work"
    assert silent["neural-engine"].endswith("not in use, or dead")


def test_a_window_extends_from_block_to_block(spawner: Spawner, tmp_path: Path) -> None:
    argv = (str(program(tmp_path, "powermetrics", every_tenth("\0" + plist()))),)
    meter = make_meter(argv, DOMAINS)
    meter.open(spawner, tmp_path)
    begun, ended = meter.read(), meter.read()
    meter.close()
    blocks = (ended.time_ns - begun.time_ns) / 1e8
    assert blocks == int(blocks) >= 1
    joules, silent = difference(meter, begun, ended, at_work=True)
    assert joules == pytest.approx({"cpu": 0.12 * blocks, "gpu": 0.007 * blocks, "soc": 0.127 * blocks})
    assert set(silent) == {"neural-engine"}


def test_a_vanished_key_leaves_its_domain_without_a_figure(spawner: Spawner, tmp_path: Path) -> None:
    text = f"emit({plist()!r})\n" + every_tenth(plist({"cpu_energy": 120, "ane_energy": 1}))
    meter = make_meter((str(program(tmp_path, "powermetrics", text)),), DOMAINS)
    meter.open(spawner, tmp_path)
    joules, silent = difference(meter, meter.read(), meter.read(), at_work=True)
    meter.close()
    assert {"cpu", "neural-engine"} == set(joules)
    assert silent == dict.fromkeys(("gpu", "soc"), "not counted all the time")


def test_closing_ends_the_program(spawner: Spawner, tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    pids = tmp_path / "pid"
    text = f"import os\nopen({str(pids)!r}, 'w').write(str(os.getpid()))\n" + every_tenth(plist())
    meter = make_meter((str(program(tmp_path, "powermetrics", text)),), DOMAINS)
    meter.open(spawner, tmp_path)
    meter.read()
    assert not is_gone(int(pids.read_text()))
    meter.close()
    assert is_gone(int(pids.read_text()))


def test_a_program_that_exits_is_named_with_its_last_output(
    spawner: Spawner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PATIENCE_S", 0.3)
    text = f"emit({plist()!r})\nsys.exit('powermetrics must be invoked as the superuser')\n"
    meter = make_meter((str(program(tmp_path, "powermetrics", text)),), DOMAINS)
    meter.open(spawner, tmp_path)
    with pytest.raises(MeterError, match="wrote no reading in 0 s: powermetrics must be invoked as the superuser"):
        (meter.read(), meter.read())
    meter.close()


def test_root_needs_no_sudo() -> None:
    assert powermetrics.program(0)[0] == "/usr/bin/powermetrics"
    assert powermetrics.program(501)[:3] == ("/usr/bin/sudo", "-n", "/usr/bin/powermetrics")


class Mac:
    """Starts nothing: returns the given output and exit code of powermetrics."""

    def __init__(self, stdout: str, stderr: str = "", code: int = 0) -> None:
        self.finished = Finished(exit_code=code, spawn_ns=1, exit_ns=2, timed_out=False, stdout=stdout, stderr=stderr)
        self.argv: tuple[str, ...] = ()

    def run(self, argv: tuple[str, ...], _env: object, _timeout_s: float) -> Finished:
        """Record the command."""
        self.argv = argv
        return self.finished


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("os.geteuid", lambda: 501)


@pytest.mark.usefixtures("macos")
def test_a_trial_reports_the_domains() -> None:
    mac = Mac("\0" + plist({"cpu_energy": 3, "gpu_energy": 0}))
    meter = find_powermetrics(mac)  # type: ignore[arg-type]  # a fake of the module that starts processes
    assert isinstance(meter, stream.StreamMeter)
    assert set(meter.info.domains) == {"cpu", "gpu", "soc"}
    assert set(meter.info.unavailable) == {"neural-engine"}
    assert mac.argv[-2:] == ("-n", "1")


@pytest.mark.usefixtures("macos")
def test_a_password_prompt_names_the_line_for_sudoers() -> None:
    mac = Mac("", "sudo: a password is required", code=1)
    reason = find_powermetrics(mac)  # type: ignore[arg-type]  # as above
    assert isinstance(reason, Reason)
    assert (reason.kind, reason.hint) == ("permission", f"run: {GRANT}")
    assert "a password is required" in reason.message


@pytest.mark.usefixtures("macos")
def test_output_without_energy_is_reported() -> None:
    mac = Mac(plist({}))
    reason = find_powermetrics(mac)  # type: ignore[arg-type]  # as above
    assert isinstance(reason, Reason)
    assert reason.message == f"powermetrics prints none of {', '.join(ENERGIES)} on this machine"

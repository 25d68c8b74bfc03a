"""What holds on all machines: the pooled ratio, the words, the page."""

from __future__ import annotations

import json
from math import isnan, log
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from histories import day_run, summarised

from runoff.analysis.meta import log_error, pool
from runoff.cli.main import cli
from runoff.statistics import paired

if TYPE_CHECKING:
    from pathlib import Path

# thirteen trials of a vaccine, the usual example of the method (Colditz and others 1994): log risk ratios, their errors
LOGS = (
    *(-0.889311, -1.585389, -1.348073, -1.441551, -0.217547, -0.786116, -1.620898),
    *(0.011952, -0.469418, -1.371345, -0.339359, 0.445913, -0.017314),
)
ERRORS = (
    *(0.5706, 0.441114, 0.64449, 0.141457, 0.226297, 0.0831, 0.472247),
    *(0.062941, 0.237559, 0.270231, 0.11141, 0.72973, 0.267217),
)


def test_the_usual_example_gives_the_numbers_of_statsmodels() -> None:
    found = pool(LOGS, ERRORS)
    logs = [log(number) for number in (found.ratio.value, found.ratio.low, found.ratio.high)]
    assert logs == pytest.approx([-0.714117, -1.107821, -0.320413], abs=1e-5)
    assert found.spread**2 == pytest.approx(0.308760, abs=1e-5)
    assert found.share == pytest.approx(0.921173, abs=1e-5)
    assert found.low < found.ratio.low < found.ratio.high < found.high


def test_machines_that_agree_are_not_made_to_look_more_precise_than_they_are() -> None:
    found = pool([0.1, 0.1, 0.1], [0.02, 0.02, 0.02])
    assert (found.spread, found.share) == (0, 0)
    assert log(found.ratio.high / found.ratio.low) / 2 == pytest.approx(4.302653 * 0.02 / 3**0.5, rel=1e-5)
    assert isnan(pool([0.1, 0.2], [0.02, 0.02]).low)


def test_the_interval_covers_the_mean_of_machines() -> None:
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        errors = random.uniform(0.01, 0.05, 6)
        found = pool([*(0.2 + random.normal(0, 0.03, 6) + random.normal(0, errors))], [*errors])
        hits += found.ratio.low <= np.exp(0.2) <= found.ratio.high
    assert 0.93 <= hits / 400 <= 0.99


def test_the_error_is_read_back_from_an_interval() -> None:
    logs = np.random.default_rng(2).normal(0.3, 0.1, 12)
    ratio = paired([np.array([value]) for value in logs])
    (low, high), t = (log(ratio.low), log(ratio.high)), 2.364624  # 8 of 12 units are kept: 7 degrees of freedom
    assert log_error(ratio.low, ratio.high, 12) == pytest.approx((high - low) / 2 / t, rel=1e-5)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on four machines: three measured, one of them with another result, and one was lost at once."""
    folder = tmp_path_factory.mktemp("results") / "days-1"
    for place, speed in enumerate((8.0, 8.0, 12.0), 1):
        made = day_run(folder, place, {"main": 10.0, "change": speed, "same": 10.0})
        summarised(made)
        (made / "machine.json").write_text(state(f"m{place}", "finished"))
    (folder / "m4").mkdir()
    (folder / "m4" / "machine.json").write_text(state("m4", "lost", "the node died"))
    return folder


def state(name: str, how: str, reason: str = "") -> str:
    return json.dumps({"name": name, "kind": "AMD, 2", "state": how, "reason": reason})


def show(*words: object) -> str:
    done = CliRunner().invoke(cli, ["machines", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_it_says_on_which_machines_a_verdict_holds(fleet: Path) -> None:
    plain = json.loads(show(fleet, "--json"))
    assert [one["state"] for one in plain["machines"]] == ["finished", "finished", "finished", "lost"]
    by_target = {one["target"]: one for one in plain["comparisons"] if one["metric"] == "latency.median"}
    change = by_target["change"]
    assert change["kind"] == "undecided"
    assert change["between"]["share"] > 0.9
    assert change["between"]["low"] < 10 / 12 < 10 / 8 < change["between"]["high"]
    assert by_target["same"]["kind"] == "no difference"


def test_runs_with_the_same_id_are_two_machines(tmp_path: Path) -> None:
    for name in ("m1", "m2"):
        made = day_run(tmp_path / name, 1, {"main": 10.0, "change": 8.0})
        summarised(made)
        (made / "machine.json").write_text(state(name, "finished"))
    plain = json.loads(show(tmp_path, "--json"))
    assert {tuple(on["machine"] for on in one["machines"]) for one in plain["comparisons"]} == {("m1", "m2")}


def test_lost_machines_are_found_at_any_depth_and_not_those_of_other_suites(fleet: Path, tmp_path: Path) -> None:
    other = day_run(tmp_path / "nights-1", 5, {"main": 10.0, "change": 8.0})
    (other / "run.json").write_text((other / "run.json").read_text().replace('"days"', '"nights"'))
    for folder in (other, other.with_name("lost")):
        folder.mkdir(exist_ok=True)
        (folder / "machine.json").write_text(state(folder.name, "lost"))
    plain = json.loads(show(fleet.parent, tmp_path, "--suite", "days", "--json"))
    assert [one["name"] for one in plain["machines"]] == ["m1", "m2", "m3", "m4"]


def test_a_run_that_cannot_be_read_is_noted(fleet: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    (note,) = json.loads(show(fleet, tmp_path, "--json"))["notes"]
    assert note.startswith("skipped: ")
    done = CliRunner().invoke(cli, ["machines", str(tmp_path)])
    assert "run.json cannot be read" in str(done.exception)


def test_the_page_and_the_table(fleet: Path, tmp_path: Path) -> None:
    text = show(fleet, "--out", tmp_path)
    assert "m4: AMD, 2; lost: the node died" in text
    page, markdown = (tmp_path / "machines.html").read_text(), (tmp_path / "machines.md").read_text()
    for words in ("faster on 2 of 3 (m1, m2); slower on 1 of 3 (m3)", "no difference on all 3 machines"):
        assert words in markdown
        assert words in page
    assert page.count("<svg") == 2
    assert page.count("typical machine, latency.median</text>") == 2


def test_several_suites_are_refused(fleet: Path, tmp_path: Path) -> None:
    other = day_run(tmp_path, 5, {"main": 10.0, "change": 8.0})
    text = (other / "run.json").read_text().replace('"days"', '"nights"')
    (other / "run.json").write_text(text)
    done = CliRunner().invoke(cli, ["machines", str(fleet), str(tmp_path)])
    assert "runs of 2 suites" in str(done.exception)
    done = CliRunner().invoke(cli, ["machines", str(tmp_path / "none")])
    assert "no such folder" in str(done.exception)

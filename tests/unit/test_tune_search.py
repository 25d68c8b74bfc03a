"""``runoff tune`` without a process: the race, the search on a simulated machine, limits, profiles."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from orchestra import case_of, info_of, record_of, result_of

from runoff.adaptive.objective import OBJECTIVES
from runoff.plan.cpu_quota import cpu_quota
from runoff.plan.own_suite import OwnOptions, own_suite
from runoff.plan.settings import cores_allowed, resolve
from runoff.plan.suite import parse_suite
from runoff.probes import PROBES
from runoff.records.errors import RunoffError
from runoff.records.protocol import Capabilities, Memory, Settings
from runoff.statistics import Estimate
from runoff.tune.limits import parse_limit
from runoff.tune.race import LOOKS, Race
from runoff.tune.search import CONFIRMATION, DEFAULT, Found, Search
from runoff.tune.show import document, draw, sentence
from runoff.tune.space import applied, change, changes, extended, name_of, profile_in
from runoff.tune.tuning import Tuned
from runoff.tune.write import profile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runoff.tune.race import Logs
    from runoff.tune.space import Candidate

KNOWN = tuple(Settings.__struct_fields__)
SPACE = changes(KNOWN, cores=2, images=True, process=True, batches=False)


def times(gains: dict[str, float], candidate: Candidate) -> float:
    """Return the time of a candidate: that of the default is 1, and each of `gains` divides it."""
    return float(np.prod([1 / gains.get(str(one), 1.0) for one in candidate]))


class Machine:
    """A `runoff.tune.search.Lab` that draws times: `gains` by change, drift that blocks share, and noise."""

    def __init__(self, gains: dict[str, float], noise: float = 0.03, seed: int = 1, last: int = 10**6) -> None:
        self.block, self.processes = 0, 0
        self._gains, self._noise, self._last = gains, noise, last
        self._random = np.random.default_rng(seed)
        self._logs: dict[Any, dict[int, float]] = {}

    def measure(self, candidates: Sequence[Candidate], *, control: bool = False) -> None:
        """Measure one block."""
        drift = self._random.normal(0, 0.2)
        for name in [*candidates, *([None] if control else [])]:
            value = np.log(times(self._gains, name or ())) + drift + self._random.normal(0, self._noise)
            self._logs.setdefault(name, {})[self.block] = value
            self.processes += 1
        self.block += 1

    def logs(self, over: Candidate | None, under: Candidate, since: int) -> Logs:
        """Return the logarithms."""
        first, second = self._logs.get(over, {}), self._logs.get(under, {})
        return [np.array([first[block] - second[block]]) for block in first if block >= since and block in second]

    def failure(self, candidate: Candidate) -> str:
        """Return the reason."""
        return "outputs-differ" if change(teardown="skip") in candidate and "broken" in self._gains else ""

    def over_limit(self, candidate: Candidate, since: int) -> str:  # noqa: ARG002 (of the protocol)
        """Return the limit."""
        return "memory < 1MB" if change(arena=False) in candidate and "large" in self._gains else ""

    def spent(self) -> float:
        """Return the share."""
        return self.block / self._last


def found_on(machine: Machine) -> Found:
    return Search(SPACE, profile_in(SPACE, {}), machine, "ns", lambda _: None).run()


def test_the_planted_best_is_found_and_each_setting_has_its_worth() -> None:
    gains = {"prepared = true": 1.4, 'teardown = "skip"': 1.1, "spinning = false": 1.2, "threads = 2": 0.8}
    found = found_on(Machine(gains))
    # nothing spins with one thread, so that this change is not tried
    assert set(map(str, found.best)) == {"prepared = true", 'teardown = "skip"'}
    assert found.verdict.kind == "better"
    assert found.verdict.low < 1.54 < found.verdict.high
    for worth in found.worths:
        assert worth.ratio.value == pytest.approx(gains[str(worth.change)], rel=0.05)


def test_a_change_that_only_helps_beside_another_is_found() -> None:
    found = found_on(Machine({"threads = 2": 1.6, "spinning = false": 1.3}))
    assert list(map(str, found.best)) == ["threads = 2", "spinning = false"]


def test_the_hand_made_profile_is_a_candidate() -> None:
    cold = {"prepared": True, "teardown": "skip", "overlap": True, "optimization": "basic", "spinning": False}
    move = profile_in(SPACE, cold)
    assert [str(one) for one in move] == ["prepared = true", 'teardown = "skip"', "overlap = true"]
    machine = Machine({str(one): 1.05 for one in move}, noise=0.05)
    found = Search(SPACE, move, machine, "ns", lambda _: None).run()
    assert set(found.best) >= {*move[:2]}


def test_without_a_difference_almost_nothing_is_claimed() -> None:
    """The stated rate is at most 2.5%: the binomial bound of 200 searches is 11."""
    kept = sum(bool(found_on(Machine({}, seed=seed)).best) for seed in range(200))
    assert kept <= 5, kept


def test_a_race_of_equals_is_won_in_at_most_its_stated_rate() -> None:
    random, won = np.random.default_rng(3), 0
    for _ in range(400):
        logs = {str(name): random.normal(0, 0.05, (LOOKS[-1], 1)) for name in range(8)}
        race = Race(list(logs))
        for blocks in LOOKS:
            race.look({name: list(logs[name][:blocks]) for name in race.open})
        won += bool(race.winners)
    assert won <= 20, won  # 2.5% of 400 is 10


def test_losers_leave_early() -> None:
    random = np.random.default_rng(4)
    centres = {"slower": -0.5, "faster": 0.5, "equal": 0.0}
    race = Race(list(centres))
    race.look({name: list(random.normal(centre, 0.02, (LOOKS[0], 1))) for name, centre in centres.items()})
    assert (race.standings["slower"].state, race.standings["faster"].state) == ("lost", "won")
    assert race.open == ["equal"]
    assert not race.over(LOOKS[0])
    assert race.over(LOOKS[-1])


def test_failures_and_limits_take_candidates_out() -> None:
    gains = {"prepared = true": 1.4, 'teardown = "skip"': 1.3, "arena = false": 1.2, "broken": 1.0, "large": 1.0}
    found = found_on(Machine(gains))
    assert list(map(str, found.best)) == ["prepared = true"]
    reasons = {str(one.move[0]): one.standing.reason for one in found.tried if one.standing.reason}
    assert reasons == {'teardown = "skip"': "outputs-differ", "arena = false": "may exceed memory < 1MB"}


def test_the_time_ends_the_search_and_what_was_seen_counts() -> None:
    machine = Machine({"prepared = true": 2.0}, last=20)
    assert list(map(str, found_on(machine).best)) == ["prepared = true"]
    assert machine.block <= 20 + 3 * LOOKS[0]


def test_on_a_noisy_machine_the_leader_is_left_to_the_confirmation() -> None:
    found = found_on(Machine({"prepared = true": 2.0}, noise=0.8, last=8))
    assert [one.standing.state for one in found.tried if one.standing.state not in ("open", "lost")] == ["leads"]
    assert found.suggested
    assert bool(found.best) == (found.verdict.kind == "better")
    kept = sum(bool(found_on(Machine({}, noise=0.8, seed=seed, last=8)).best) for seed in range(100))
    assert kept <= 6, kept  # 2.5% of 100


def test_what_is_not_confirmed_is_not_kept() -> None:
    class Forgetful(Machine):
        def measure(self, candidates: Sequence[Candidate], *, control: bool = False) -> None:
            self._gains = {} if control else self._gains
            super().measure(candidates, control=control)

    found = found_on(Forgetful({"prepared = true": 1.5}))
    assert found.best == DEFAULT
    assert list(map(str, found.suggested)) == ["prepared = true"]
    assert "not better than the default" in found.refusal
    assert found.blocks == CONFIRMATION


def test_one_core_has_no_second_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runoff.plan.settings.cpu_quota", lambda: 1.0)
    space = changes(KNOWN, cores=cores_allowed(), images=True, process=True, batches=False)
    assert not {"threads", "inter_threads"} & {name for one in space for name in one.settings}
    assert cpu_quota() is None or cpu_quota()


def test_the_space_is_what_the_target_has() -> None:
    names = {name for one in SPACE for name in one.settings}
    assert names == {
        *("prepared", "teardown", "overlap", "optimization", "arena", "prepacking", "threads", "spinning"),
        *("execution", "inter_threads", "spin_duration_us", "spin_backoff_max"),
    }
    torch = changes(("threads", "teardown"), cores=1, images=False, process=True, batches=False)
    assert list(map(str, torch)) == ['teardown = "skip"']
    warm = changes(KNOWN, cores=4, images=True, process=False, batches=True)
    assert not {"prepared", "overlap", "teardown"} & {name for one in warm for name in one.settings}
    assert [str(one) for one in warm if "threads" in one.settings] == ["threads = 2", "threads = 4"]
    assert "batch = 32" in map(str, warm)


def test_changes_that_have_no_effect_beside_others_are_left_out() -> None:
    prepared = (change(prepared=True),)
    assert not extended(prepared, change(optimization="basic"))
    assert not extended(prepared, change(prepared=True))
    assert not extended(prepared, change(spinning=False))
    assert extended((change(threads=2),), change(spinning=False))
    assert not extended((change(threads=2), change(spinning=False)), change(spin_duration_us=100))
    candidate = (change(threads=2), change(spinning=False), change(teardown="skip"))
    assert name_of("ort-rust", candidate) == "ort-rust+no-spinning+teardown-skip+threads-2"
    assert applied(candidate, Settings()) == Settings(threads=2, spinning=False, teardown="skip")


def test_limits_are_read() -> None:
    limit = parse_limit("memory  <  200MB")
    assert (limit.text, limit.objective.name, limit.most) == ("memory < 200MB", "memory", 2e8)
    assert parse_limit("cold<1.5s").most == 1.5e9
    assert parse_limit("throughput > 100/s").most == 1e7


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("memory", "is not valid"),
        ("memory = 2MB", "is not valid"),
        ("memry < 2MB", "did you mean 'memory'"),
        ("memory > 2MB", "bounded from above"),
        ("throughput < 2/s", "bounded from below"),
        ("memory < 2ms", "unit 'ms' does not fit memory"),
        ("cold < 2", "unit '' does not fit cold"),
        ("latency < 0ms", "does not fit"),
    ],
)
def test_bad_limits(text: str, what: str) -> None:
    with pytest.raises(RunoffError) as caught:
        parse_limit(text)
    assert text in str(caught.value)
    assert what in str(caught.value)


def test_objectives_read_records() -> None:
    case = case_of("mine")
    tool = [{name: {"value": value} for name, value in (("time_wall_clock", 0.5), ("time_user", 0.2))}]
    record = record_of(probe="process", tool=tool)
    assert OBJECTIVES["cold"].values(record, case).tolist() == [5e8]
    # without one of its parts, a sum has no value
    assert OBJECTIVES["cpu"].values(record, case).size == 0
    tool[0]["time_system"] = {"value": 0.1}
    assert OBJECTIVES["cpu"].values(record, case) == pytest.approx([3e8])
    memory = record_of(probe="memory", result=result_of(memory=Memory(peak_bytes=7)))
    assert OBJECTIVES["memory"].values(memory, case).tolist() == [7.0]
    assert {name for one in OBJECTIVES.values() for name in one.metrics} <= PROBES.keys()


def tuned_of(found: Found, folder: Path) -> Tuned:
    info = info_of(case_of("mine"))
    info.capabilities["mine"] = Capabilities(protocol=(1,), runner="mine", language="c", runtime="abacus")
    value = Estimate(2e8, 1.9e8, 2.1e8, 17)
    return Tuned(found=found, folder=folder, info=info, default=value, best=value, seconds=12.0)


def test_a_profile_is_written_with_what_each_setting_was_worth(tmp_path: Path) -> None:
    tuned = tuned_of(found_on(Machine({"prepared = true": 1.4, 'teardown = "skip"': 1.1})), tmp_path)
    objective = OBJECTIVES["cold"]
    text = profile(tuned, objective, "runoff tune net.onnx --target mine --objective cold")
    assert text.startswith("# runoff tune net.onnx")
    assert "abacus" in text
    assert "faster" in text
    assert tomllib.loads(text) == {"prepared": True, "teardown": "skip"}
    path = tmp_path / "tuned.toml"
    path.write_text(text)
    assert resolve({"profile": str(path)}) == Settings(prepared=True, teardown="skip", profile=str(path))
    assert b"prepared = true" in draw(tuned, objective)
    made = document(tuned, objective)
    assert made["settings"] == {"prepared": True, "teardown": "skip"}
    assert made["kept"]


def test_a_profile_without_a_gain_is_the_default(tmp_path: Path) -> None:
    tuned = tuned_of(found_on(Machine({})), tmp_path)
    assert tomllib.loads(profile(tuned, OBJECTIVES["cold"], "runoff tune")) == {}
    assert "keep the default" in sentence(tuned, OBJECTIVES["cold"])
    assert draw(tuned, OBJECTIVES["cold"]) == b""


def test_bench_takes_threads_and_batch_from_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tuned.toml").write_text("threads = 2\nbatch = 4\n")
    suite = parse_suite(own_suite("a.onnx", OwnOptions(profile="default,tuned.toml")), "text")
    assert suite.settings == {"profile": ["default", str(tmp_path / "tuned.toml")]}
    assert resolve({"profile": suite.settings["profile"][1]}).threads == 2

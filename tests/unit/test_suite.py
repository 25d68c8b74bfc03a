"""Suites: parsing, defaults and error messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from orchestra import HEAD, suite_of

from runoff import paths
from runoff.plan.suite import find_suite, parse_suite, read_suite
from runoff.probes import PROBES
from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from pathlib import Path

DESIGNED = """
[suite]
name = "quick"
models  = ["efficientnet-lite0"]
targets = ["torch", "ort-python", "ort-rust", "ort-pyo3"]
probes  = ["process", "latency", "memory", "counters"]
[settings]                      # every key may be a list: then it is swept
threads = 1
profile = "default"             # default | cold | latency | a settings file
[targets.mine]
command = ["./my-runner"]
"""

MISTAKES = {
    "not TOML": ("[suite", "not TOML", ""),
    "no [suite]": ("[settings]\nthreads = 1\n", "suite", ""),
    "no name": ('[suite]\nmodels = ["net"]\n', "name", ""),
    "no models": ('[suite]\nname = "a"\n', "[suite] has no models", 'models = ["efficientnet-lite0"]'),
    "no probes": (HEAD.replace('probes = ["life"]', "probes = []"), "has no probes", "probes = ["),
    "name that is a path": (HEAD.replace('"tiny"', '"../tiny"'), "[suite.name]", ""),
    "unknown table": (HEAD + "[setings]\nthreads = 1\n", "setings", "did you mean 'settings'?"),
    "unknown baseline": (
        HEAD.replace('"mine"', '"mine", "yours"') + 'baselines = ["yuors"]\n',
        "[suite] baseline 'yuors'",
        "did you mean 'yours'?",
    ),
    "precision without a sign": (HEAD + '[measure]\nprecision = "2"\n', "[measure] precision '2'", "2%"),
    "time without a unit": (HEAD + '[measure]\ntime = "10"\n', "[measure] time '10'", "10m"),
    "unknown mode": (HEAD + '[measure.latency]\nmode = "both"\n', "[measure.latency.mode]", ""),
    "unknown key of [suite]": (HEAD + 'modles = ["net"]\n', "modles", "did you mean 'models'?"),
    "unknown key of [measure]": (HEAD + "[measure]\nsead = 1\n", "sead", "did you mean 'seed'?"),
    "unknown key of [measure.latency]": (
        HEAD + "[measure.latency]\nmin_sample = 1\n",
        "min_sample",
        "did you mean 'min_samples'?",
    ),
    "unknown key of [measure.energy]": (
        HEAD + "[measure.energy]\nwindow = 1\n",
        "window",
        "did you mean 'window_s'?",
    ),
    "no window": (HEAD + "[measure.energy]\nidle_s = 0\n", "[measure.energy.idle_s]", ""),
    "unknown key of [[group]]": (HEAD + '[[group]]\nmodel = ["net"]\n', "model", "did you mean 'models'?"),
    "unknown key of [targets.NAME]": (
        HEAD + '[targets.mine]\ncommand = ["a"]\nenvv = {}\n',
        "envv",
        "did you mean 'env'?",
    ),
    "unknown probe": (HEAD.replace('"life"', '"live"'), "probe 'live'", "did you mean 'life'?"),
    "unknown probe in [measure.blocks]": (
        HEAD + "[measure.blocks]\nproces = 1\n",
        "[measure.blocks] probe 'proces'",
        "did you mean 'process'?",
    ),
    "unknown setting": (HEAD + "[settings]\nthread = 1\n", "[settings] key 'thread'", "did you mean 'threads'?"),
    "unknown setting of a group": (HEAD + "[[group]]\nsettings = { bach = 1 }\n", "'bach'", "'batch'?"),
    "bad value of a setting": (HEAD + '[settings]\nthreads = "two"\n', "threads", ""),
    "setting without a value": (HEAD + "[settings]\nbatch = []\n", "batch", ""),
    "unknown workload": (HEAD + 'workloads = ["guess"]\n', "workloads", ""),
    "no blocks": (HEAD + "[measure.blocks]\nlife = 0\n", "measure.blocks", ""),
    "no time": (HEAD + "[measure]\ntimeout_s = 0\n", "timeout_s", ""),
    "a text for a list": (HEAD.replace('["net"]', '"net"'), "[suite.models]", ""),
    "an empty command": (HEAD + "[targets.mine]\ncommand = []\n", "command", ""),
    "a target's name that is a path": (HEAD + '[targets."a/b"]\ncommand = ["a"]\n', "targets", ""),
}


def test_the_example_of_the_design_parses() -> None:
    suite = suite_of(DESIGNED)
    (choice,) = suite.groups
    assert choice.targets == ("torch", "ort-python", "ort-rust", "ort-pyo3")
    assert choice.workloads == ("classify",)
    assert choice.settings == {"threads": 1, "profile": "default"}
    assert suite.targets["mine"].command == ("./my-runner",)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_a_hint(mistake: str) -> None:
    text, message, hint = MISTAKES[mistake]
    with pytest.raises(RunoffError) as caught:
        suite_of(text)
    assert caught.value.message.startswith("tiny.toml")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "`$" not in caught.value.message


def test_defaults() -> None:
    suite = suite_of(HEAD)
    blocks = {
        "accuracy": 1,
        "process": 10,
        "life": 5,
        "latency": 6,
        "memory": 3,
        "counters": 3,
        "energy": 3,
        "operators": 3,
        "mappings": 5,
        "load": 3,
    }
    assert {probe: suite.blocks(probe) for probe in PROBES} == blocks
    assert (suite.measure.seed, suite.measure.pause_s, suite.measure.timeout_s) == (1, 0.0, 600.0)
    minima = suite.measure.latency
    assert (minima.min_samples, minima.min_time_s, minima.warmup) == (60, 0.5, 3)
    assert (suite.measure.energy.window_s, suite.measure.energy.idle_s) == (2.0, 2.0)


def test_every_key() -> None:
    suite = suite_of(
        HEAD
        + """
description = "words"
workloads = ["tensor"]
[settings]
threads = [1, "all"]
[measure]
timeout_s = 5.0
pause_s = 0.5
seed = 7
[measure.blocks]
life = 9
[measure.energy]
window_s = 3
idle_s = 1.5
[measure.latency]
min_samples = 4
min_time_s = 0.25
warmup = 0
[targets.mine]
command = ["sh", "runner.sh"]
env = { A = "b" }
"""
    )
    assert suite.suite.description == "words"
    assert suite.groups[0].workloads == ("tensor",)
    assert (suite.measure.seed, suite.measure.pause_s, suite.measure.timeout_s) == (7, 0.5, 5.0)
    assert suite.blocks("life") == 9
    assert suite.blocks("memory") == 3
    minima = suite.measure.latency
    assert (minima.min_samples, minima.min_time_s, minima.warmup) == (4, 0.25, 0)
    assert (suite.measure.energy.window_s, suite.measure.energy.idle_s) == (3.0, 1.5)
    assert suite.targets["mine"].env == {"A": "b"}


def test_groups_inherit_missing_keys() -> None:
    first, second = suite_of(
        HEAD
        + """
[settings]
threads = 2
[[group]]
models = ["other"]
[[group]]
workloads = ["tensor"]
settings = { batch = 4 }
"""
    ).groups
    assert (first.models, first.workloads, first.settings) == (("other",), ("classify",), {"threads": 2})
    assert (second.models, second.workloads) == (("net",), ("tensor",))
    assert second.settings == {"threads": 2, "batch": 4}


def test_a_group_may_set_a_key_missing_from_the_suite() -> None:
    text = '[suite]\nname = "a"\ntargets = ["mine"]\nprobes = ["life"]\n[[group]]\nmodels = ["net"]\n'
    assert suite_of(text).groups[0].models == ("net",)


@pytest.mark.parametrize("path", sorted(paths.suites().glob("*.toml")), ids=lambda path: path.stem)
def test_the_suites_that_come_with_runoff_parse(path: Path) -> None:
    suite, text = read_suite(path)
    assert suite.suite.name == path.stem
    assert parse_suite(text, path.name) == suite


def test_find_suite(tmp_path: Path) -> None:
    assert find_suite("quick") == paths.suites() / "quick.toml"
    own = tmp_path / "own.toml"
    own.write_text(HEAD)
    assert find_suite(str(own)) == own
    with pytest.raises(RunoffError, match="did you mean 'quick'"):
        find_suite("quik")
    with pytest.raises(RunoffError, match="suite file not found"):
        find_suite(str(tmp_path / "none.toml"))


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RunoffError, match="cannot read"):
        read_suite(tmp_path / "a.toml")

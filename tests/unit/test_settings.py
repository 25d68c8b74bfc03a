"""Settings: profiles are defaults, lists are swept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runoff.plan.settings import cores_allowed, parse_assignments, parse_lists, read_profile, resolve, sweep
from runoff.records.errors import RunoffError
from runoff.records.protocol import Settings

if TYPE_CHECKING:
    from pathlib import Path


def lists_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One value, or a list of different ones."""
    return values | st.lists(values, min_size=1, max_size=3, unique=True)


TABLES = st.fixed_dictionaries(
    {},
    optional={
        "threads": lists_of(st.integers(1, 64)),
        "inter_threads": lists_of(st.integers(1, 8)),
        "optimization": lists_of(st.sampled_from(["disable", "basic", "extended", "all"])),
        "arena": lists_of(st.booleans()),
        "provider": lists_of(st.sampled_from(["cpu", "cuda", "coreml"])),
        "batch": lists_of(st.integers(1, 64)),
        "profile": lists_of(st.sampled_from(["default", "cold", "latency"])),
    },
)


@given(TABLES)
def test_a_sweep_is_the_product_of_its_lists(table: dict[str, Any]) -> None:
    swept = sweep(table)
    sizes = [len(value) if isinstance(value, list) else 1 for value in table.values()]
    assert len(swept) == math.prod(sizes)
    assert len(set(swept)) == len(swept)
    assert swept == sweep(table)
    for settings in swept:
        for key, value in table.items():
            assert getattr(settings, key) in (value if isinstance(value, list) else [value])


def test_a_value_given_twice_is_one_case() -> None:
    assert sweep({"threads": [1, 1]}) == [Settings(threads=1)]


def test_the_last_key_turns_fastest() -> None:
    swept = sweep({"threads": [1, 2], "batch": [1, 4]})
    assert [(one.threads, one.batch) for one in swept] == [(1, 1), (1, 4), (2, 1), (2, 4)]


def test_explicit_settings_override_the_profile() -> None:
    cold = resolve({"profile": "cold"})
    assert (cold.spinning, cold.arena, cold.teardown) == (False, False, "skip")
    assert (cold.prepared, cold.overlap) == (True, True)
    assert resolve({"profile": "cold", "arena": True}).arena is True
    assert resolve({}) == Settings()


def test_all_threads_are_the_cores_allowed() -> None:
    assert resolve({"threads": "all"}).threads == cores_allowed() >= 1


def test_a_custom_profile(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("arena = false\n")
    assert resolve({"profile": str(path)}) == Settings(arena=False, profile=str(path))


@pytest.mark.parametrize(
    ("text", "what"), [("spining = true", "unknown setting 'spining'"), ("threads = 0", "Expected `int` >= 1")]
)
def test_a_bad_profile_is_named(text: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RunoffError, match=r"^settings profile .*mine\.toml: ") as raised:
        resolve({"profile": str(path)})
    assert what in raised.value.message


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"thread": 1}, "did you mean 'threads'"),
        ({"threads": 0}, "threads"),
        ({"threads": True}, "threads"),
        ({"optimization": "most"}, "optimization"),
        ({"profile": "cool"}, "did you mean 'cold'"),
        ({"profile": "nowhere.toml"}, "unknown settings profile 'nowhere.toml'"),
        ({"batch": "all"}, "batch"),
    ],
)
def test_invalid_settings(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(RunoffError) as caught:
        resolve(wanted)
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"arena = ", b"\xff\xfe"])
def test_a_profile_that_cannot_be_read(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(RunoffError, match="cannot read"):
        read_profile(str(path))


def test_assignments() -> None:
    given = parse_assignments(("threads=2", "spinning = false", "provider=cuda", 'profile="cold"'))
    assert given == {"threads": 2, "spinning": False, "provider": "cuda", "profile": "cold"}
    with pytest.raises(RunoffError, match="--set threads=2"):
        parse_assignments(("threads",))


def test_one_at_a_time_varies_each_setting_around_the_first_values() -> None:
    swept = sweep({"threads": [1, 2], "batch": [1, 4, 8], "arena": False}, "one-at-a-time")
    assert [(one.threads, one.batch, one.arena) for one in swept] == [
        (1, 1, False),
        (2, 1, False),
        (1, 4, False),
        (1, 8, False),
    ]


def test_lists_on_the_command_line() -> None:
    assert parse_lists(("spinning=true,false", "optimization=all, basic", "batch=8")) == {
        "spinning": [True, False],
        "optimization": ["all", "basic"],
        "batch": [8],
    }
    with pytest.raises(RunoffError, match="--set spinning: no value"):
        parse_lists(("spinning",))

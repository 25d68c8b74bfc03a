"""Published runs: contents, the README's table, and the size limit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from msgspec.structs import replace
from synthetic import synthetic_run

from runoff import paths
from runoff.compare import formats
from runoff.records.errors import RunoffError
from runoff.records.files import RunWriter
from runoff.records.reason import Reason
from runoff.report import publish as publishing
from runoff.report.publish import MOST_BYTES, publish, published_files

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FRAME = "# runoff\n\n<!-- table: begin -->\nold\n<!-- table: end -->\n\nthe rest\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the folder of a published run of the suite `quick`, in a checkout with a README."""
    root = tmp_path_factory.mktemp("checkout")
    made = synthetic_run(root / "results" / "quick-1", profiles=("default", "cold"), blocks=4, warm=10, live=True)
    made.info.suite = {"suite": {"name": "quick"}}
    missing = Reason("not-installed", f"program not found: {root}/target/release/any")
    made.info.cases = tuple(replace(case, skipped=missing) if case.skipped else case for case in made.info.cases)
    writer = RunWriter(made.folder, made.info)
    for record in made.records:
        writer.append(record)
    (made.folder / "gate.md").write_text("passed")
    (root / "README.md").write_text(FRAME)
    (root / "noxfile.py").touch()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RUNOFF_ROOT", str(root))
        assert publish(made.folder) == paths.results() / "reference" / "quick"
        yield made.folder


def test_a_published_run_is_small_complete_and_compared_like_the_run_itself(run: Path) -> None:
    before, made = formats.read(run), run.parent / "reference" / "quick"
    names = {path.name for path in made.iterdir()}
    assert names == {"run.json", "summary.csv", "samples.parquet", "report.md", "report.html", "plots", "gate.md"}
    assert {path.suffix for path in (made / "plots").iterdir()} == {".svg"}
    pd.testing.assert_frame_equal(formats.read(made).samples, before.samples.astype(formats.read(made).samples.dtypes))
    for page in ("report.md", "report.html"):
        text = (made / page).read_text()
        assert "samples.parquet" in text
        assert "samples.csv" not in text
        assert ".png" not in text


def test_a_published_run_has_no_path_of_the_machine(run: Path) -> None:
    made = run.parent / "reference" / "quick"
    texts = {path.name: path.read_text() for path in made.rglob("*.*") if path.suffix != ".parquet"}
    assert [name for name, text in texts.items() if str(run.parents[1]) in text] == []
    assert "program not found: target/release/any" in texts["report.html"]


def test_of_an_explanation_its_own_page_is_published(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNOFF_ROOT", str(run.parents[1]))
    made = synthetic_run(run.parent / "explain-1", blocks=4, warm=10)
    made.info.suite = {"suite": {"name": "explain-torch-ort-rust-net"}}
    RunWriter(made.folder, made.info).append(made.records[0])
    (made.folder / "explain.html").write_text(f"run: {made.folder}")
    published = publish(made.folder)
    assert {path.name for path in published.iterdir()} == {"explain.html", "run.json"}
    assert (published / "explain.html").read_text() == "run: results/explain-1"


def test_the_readme_has_a_row_for_each_target_of_the_first_profile(run: Path) -> None:
    made = run.parent / "reference" / "quick"
    readme = (paths.root() / "README.md").read_text()
    head, _, rest = readme.partition("<!-- table: begin -->\n")
    shown, _, tail = rest.partition("<!-- table: end -->")
    assert (head, tail) == ("# runoff\n\n", "\n\nthe rest\n")
    rows = [line.split(" | ") for line in shown.splitlines() if line.startswith("|")]
    assert [row[0].strip("| ") for row in rows[2:]] == [
        "PyTorch",
        "ONNX Runtime from Python",
        "ONNX Runtime from Rust",
        "Rust core from Python",
    ]
    assert [row[2] for row in rows if "Python" in row[0] and "Runtime" in row[0]] == ["baseline"]
    assert "With the profile `cold`, a process takes " in shown
    assert "coreml" not in shown
    (plot,) = [line for line in shown.splitlines() if line.startswith("![")]
    name = plot.partition("](")[2].rstrip(")")
    assert (paths.root() / name).is_file()
    assert (paths.root() / name).is_relative_to(made)
    texts = {element.text for element in ET.parse(paths.root() / name).iter("{http://www.w3.org/2000/svg}text")}  # noqa: S314
    assert {"PyTorch", "ONNX Runtime from Rust", "imports", "profile default, without PyTorch"} <= texts
    assert not {"torch", "null-rust", "profile cold"} & texts


def test_a_run_that_would_make_the_published_ones_too_large_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in published_files(paths.results())}
    monkeypatch.setattr(publishing, "MOST_BYTES", 100_000)
    with pytest.raises(RunoffError) as refused:
        publish(run)
    assert "MB, more than 0 MB; the largest file of this run is quick/report.html (0." in refused.value.message
    assert {path: path.read_bytes() for path in published_files(paths.results())} == before


def test_the_published_runs_are_small() -> None:
    files = published_files(ROOT / "results")
    assert files
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    # of pictures with masks there is no smaller form
    pictures = [path for path in files if path.suffix == ".png" and not path.name.startswith("masks-")]
    assert [*pictures, *(path for path in files if path.name == "samples.csv")] == []

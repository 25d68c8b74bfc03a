"""The rows of the table: what is compared with what, and the bar."""

from __future__ import annotations

from msgspec import Struct

MODEL = "regnet_x_400mf"
FLOOR = "floor"
"""``rust/runoff-floor``: the same work on ONNX Runtime's bare C interface, nothing else."""


class Row(Struct, frozen=True, kw_only=True):
    """A ratio and its bar. Lower ratios are better where the bar is a ceiling, higher ones where it is a floor."""

    name: str
    """What ``--row`` takes."""
    what: str
    group: str
    """What is measured in the same blocks; see `runoff.speed.meters`."""
    over: tuple[str, ...]
    under: tuple[str, ...]
    """Candidates of the group. The ratio is the product of `over` divided by the product of `under`."""
    bar: float
    at_least: bool = False

    @property
    def command(self) -> str:
        """The command that measures this row alone."""
        return f"nox -s speed -- --row {self.name}"

    @property
    def bar_words(self) -> str:
        """The bar as people read it."""
        return f"at {'least' if self.at_least else 'most'} {self.bar:.{self.places}f}"

    @property
    def places(self) -> int:
        """The decimals that the bar is told with; a ratio has as many at least."""
        return 2 if self.bar < 2 else 0  # noqa: PLR2004 (bars next to 1 are about percents)

    def meets(self, ratio: float) -> bool:
        """Return whether `ratio` meets the bar."""
        return ratio >= self.bar if self.at_least else ratio <= self.bar

    def margin(self, ratio: float) -> float:
        """Return how many times better than the bar `ratio` is; below 1 it misses."""
        return ratio / self.bar if self.at_least else self.bar / ratio


ROWS = (
    Row(
        name="process-cold",
        what="whole process, profile cold: ort-python / ort-rust",
        group="process-cold",
        over=("ort-python",),
        under=("ort-rust",),
        bar=4.0,
        at_least=True,
    ),
    Row(
        name="process-default",
        what="whole process, profile default: ort-python / ort-rust",
        group="process-default",
        over=("ort-python",),
        under=("ort-rust",),
        bar=2.0,
        at_least=True,
    ),
    Row(
        name="torch-cold",
        what="whole process, profile cold: torch / ort-rust",
        group="process-cold",
        over=("torch",),
        under=("ort-rust",),
        bar=70.0,
        at_least=True,
    ),
    Row(
        name="floor-cold",
        what="whole process, profile cold: ort-rust / bare C API",
        group="process-cold",
        over=("ort-rust",),
        under=(FLOOR,),
        bar=1.10,
    ),
    Row(
        name="floor-default",
        what="whole process, profile default: ort-rust / bare C API",
        group="process-default",
        over=("ort-rust",),
        under=(FLOOR,),
        bar=1.10,
    ),
    Row(
        name="warm-rust",
        what="warm inference: ort-rust / bare C API loop",
        group="warm",
        over=("ort-rust",),
        under=(FLOOR,),
        bar=1.02,
    ),
    Row(
        name="warm-pyo3",
        what="warm inference: ort-pyo3 / bare C API loop",
        group="warm",
        over=("ort-pyo3",),
        under=(FLOOR,),
        bar=1.02,
    ),
    Row(
        name="call",
        what="call of a one-node, eight-float model: runoff_ort's run / onnxruntime's run",
        group="call",
        over=("runoff_ort",),
        under=("onnxruntime",),
        bar=0.45,
    ),
    Row(
        name="bound-call",
        what="the same model, repeated bound call: runoff_ort's / onnxruntime's I/O binding",
        group="bound-call",
        over=("runoff_ort",),
        under=("onnxruntime",),
        bar=0.8,
    ),
    Row(
        name="preprocess",
        what="preprocessing a 640x427 JPEG: Rust / Pillow + NumPy",
        group="preprocess",
        over=("runoff_ort",),
        under=("Pillow + NumPy",),
        bar=0.42,
    ),
    Row(
        name="preprocess-kept",
        what="the same / Pillow + NumPy that resize only what the crop keeps, as the target ort-python does",
        group="preprocess",
        over=("runoff_ort",),
        under=("ort-python",),
        bar=0.42,
    ),
    Row(
        name="threads",
        what="two threads on one session / one, throughput: gain of runoff_ort / of onnxruntime",
        group="threads",
        over=("runoff_ort, 1 thread", "onnxruntime, 2 threads"),
        under=("runoff_ort, 2 threads", "onnxruntime, 1 thread"),
        bar=0.97,
        at_least=True,
    ),
    Row(
        name="memory-cold",
        what="peak memory of the process, profile cold: ort-rust / ort-python",
        group="memory-cold",
        over=("ort-rust",),
        under=("ort-python",),
        bar=0.65,
    ),
    Row(
        name="memory-default",
        what="peak memory of the process, profile default: ort-rust / ort-python",
        group="memory-default",
        over=("ort-rust",),
        under=("ort-python",),
        bar=0.65,
    ),
)


def find_rows(names: tuple[str, ...]) -> tuple[Row, ...]:
    """Return the rows called `names`, in the order of the table; all of them when no name is given."""
    return tuple(row for row in ROWS if not names or row.name in names)

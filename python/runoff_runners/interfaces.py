"""Types of the runners' parts. Imported by type checkers only, so it costs a process nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NotRequired, Protocol, TypedDict

from numpy.typing import NDArray

if TYPE_CHECKING:
    import numpy as np

Array = NDArray[Any]
Feed = dict[str, Array]
"""Tensors by the name of the model's input or output, in the model's order."""
Fields = dict[str, Any]
"""Part of a result or of capabilities, ready to be written as JSON."""


class TensorSpec(TypedDict):
    """`runoff.records.protocol.TensorSpec`."""

    name: str
    dtype: str
    shape: list[int | None]


class TensorFile(TypedDict):
    """`runoff.records.protocol.TensorFile`."""

    path: str
    dtype: str
    shape: list[int]


class ModelFile(TypedDict):
    """`runoff.records.protocol.ModelFile`."""

    name: str
    path: str
    format: str
    sha256: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    builder: NotRequired[str | None]


class Item(TypedDict):
    """`runoff.records.protocol.Item`, checked: the one of the two that the workload needs is there."""

    image: str
    tensors: dict[str, TensorFile]


class Preprocess(TypedDict):
    """`runoff.records.protocol.Preprocess`."""

    resize: int
    crop: int
    interpolation: str
    mean: list[float]
    std: list[float]


class Settings(TypedDict):
    """`runoff.records.protocol.Settings`, with its defaults filled in."""

    threads: int
    inter_threads: int | None
    optimization: str | None
    spinning: bool | None
    arena: bool | None
    prepacking: bool | None
    execution: str | None
    provider: str
    precision: str
    batch: int
    profile: str
    teardown: str | None
    prepared: bool | None
    overlap: bool | None


class Measure(TypedDict):
    """`runoff.records.protocol.Once`, `Latency`, `Accuracy` or `Turns`."""

    kind: str
    memory: NotRequired[bool]
    min_samples: NotRequired[int]
    min_ns: NotRequired[int]
    warmup: NotRequired[int]


class Request(TypedDict):
    """`runoff.records.protocol.Request`, checked and with its defaults filled in."""

    protocol: int
    case: str
    workload: str
    model: ModelFile
    inputs: list[Item]
    preprocess: Preprocess
    labels: str | None
    settings: Settings
    measure: Measure
    top_k: int
    outputs_dir: str
    spawn_ns: int | None


class Marks(Protocol):
    """Where the phases of the process are marked."""

    def end(self, name: str) -> int:
        """End the phase `name` now; return the clock in nanoseconds."""


class Session(Protocol):
    """A model that can run.

    One on a device with separate memory has ``parts``: for ``copy_in``, ``compute`` and ``copy_out``, in this order,
    the nanoseconds of each of its inferences.
    """

    def run(self, feed: Feed) -> Feed:
        """Run the model once; the outputs can be read on the CPU when it returns."""

    def effective(self) -> Fields:
        """Return `runoff.records.protocol.Effective`, read back from the runtime, without what the program adds."""


class Images(Protocol):
    """From image files to a batch."""

    def __call__(self, paths: list[str]) -> NDArray[np.float32]:
        """Return float32 [len(paths), 3, crop, crop]."""


class Target(Protocol):
    """What a runner needs of its runtime. A module can be one. It may have ``PRECISIONS``, else it computes in fp32."""

    FORMATS: tuple[str, ...]
    MEASURES: tuple[str, ...]
    SETTINGS: tuple[str, ...]

    def capabilities(self) -> Fields:
        """Return the runtime's part of `runoff.records.protocol.Capabilities` on this machine."""

    def perform(self, request: Request, phases: Marks) -> Fields:
        """Carry out the request; return the fields of the result that come from it."""

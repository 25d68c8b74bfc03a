"""Types shared by the runners. Only type checkers import this module, so it adds nothing to a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NotRequired, Protocol, TypedDict

from numpy.typing import NDArray

if TYPE_CHECKING:
    import numpy as np

Array = NDArray[Any]
Feed = dict[str, Array]
"""Tensors by input or output name, in the model's order."""
Fields = dict[str, Any]
"""Part of a result or of capabilities, serialisable as JSON."""


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
    builder_folder: NotRequired[str | None]


class Item(TypedDict):
    """`runoff.records.protocol.Item`, checked: the field that the workload reads is present."""

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
    spin_duration_us: int | None
    spin_backoff_max: int | None
    arena: bool | None
    prepacking: bool | None
    execution: str | None
    provider: str
    precision: str
    batch: int
    profile: str
    teardown: str | None
    prepared: bool | Literal["onnx"] | None
    overlap: bool | None


class Measure(TypedDict):
    """`runoff.records.protocol.Once`, `Latency`, `Accuracy`, `Turns` or `Operators`."""

    kind: str
    memory: NotRequired[bool]
    min_samples: NotRequired[int]
    min_ns: NotRequired[int]
    warmup: NotRequired[int]
    inferences: NotRequired[int]


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
    """Recorder of the phases of the process."""

    def end(self, name: str) -> int:
        """End the phase `name` now; return the current time in nanoseconds."""


class Session(Protocol):
    """A loaded model.

    On a device with separate memory, the session also has the attribute ``parts``: the durations of each inference in
    nanoseconds, for ``copy_in``, ``compute`` and ``copy_out``, in this order.
    """

    def run(self, feed: Feed) -> Feed:
        """Run the model once; the outputs can be read on the CPU when it returns."""

    def effective(self) -> Fields:
        """Return `runoff.records.protocol.Effective` as the runtime reports it, without the fields the program adds."""


class ProfiledSession(Session, Protocol):
    """A loaded model whose runtime has a profiler, for the measure `operators`."""

    def nodes(self, inferences: int) -> list[Fields]:
        """Return `runoff.records.protocol.Node` for each node of the latest `inferences`."""


class Images(Protocol):
    """A function that turns image files into a batch."""

    def __call__(self, paths: list[str]) -> NDArray[np.float32]:
        """Return float32 [len(paths), 3, crop, crop]."""


class Target(Protocol):
    """A runner's interface to its runtime, often a module. Without ``PRECISIONS``, it computes in fp32 only."""

    FORMATS: tuple[str, ...]
    MEASURES: tuple[str, ...]
    SETTINGS: tuple[str, ...]

    def capabilities(self) -> Fields:
        """Return the runtime's part of `runoff.records.protocol.Capabilities` on this machine."""

    def perform(self, request: Request, phases: Marks) -> Fields:
        """Carry out the request; return the target's fields of the result."""

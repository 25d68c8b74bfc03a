"""Types shared by the runners. Only type checkers import this module, so it adds nothing to a process."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, Protocol, TypedDict

from numpy.typing import NDArray

Array = NDArray[Any]
Feed = dict[str, Array]
"""Tensors by input or output name, in the model's order."""
Fields = dict[str, Any]
"""Part of a result or of capabilities, serialisable as JSON."""


Shapes = tuple[tuple[int, ...], ...]
"""Of all inputs, in the model's order."""


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
    decoder: NotRequired[ModelFile | None]


class Prompt(TypedDict):
    """`runoff.records.protocol.Prompt`."""

    points: NotRequired[list[list[float]]]
    labels: NotRequired[list[int]]
    box: NotRequired[list[float] | None]
    mask: NotRequired[TensorFile | None]


class Item(TypedDict):
    """`runoff.records.protocol.Item`, checked: the field that the workload reads is present."""

    image: str
    tensors: dict[str, TensorFile]
    prompts: NotRequired[list[Prompt] | None]


class Preprocess(TypedDict):
    """`runoff.records.protocol.Preprocess`."""

    resize: int
    crop: int
    interpolation: str
    mean: list[float]
    std: list[float]


class Segment(TypedDict):
    """`runoff.records.protocol.Segment`, with its defaults filled in."""

    size: int
    mean: list[float]
    std: list[float]
    mask_threshold: float
    multimask: bool
    points_per_side: int
    points_per_batch: int
    pred_iou_thresh: float
    stability_score_thresh: float
    stability_score_offset: float
    box_nms_thresh: float
    crop_n_layers: int
    crop_nms_thresh: float
    crop_overlap_ratio: float
    crop_n_points_downscale_factor: int
    min_mask_region_area: int


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
    """`runoff.records.protocol.Once`, `Latency`, `Accuracy`, `Turns`, `Operators` or `Load`."""

    kind: str
    memory: NotRequired[bool]
    min_samples: NotRequired[int]
    min_ns: NotRequired[int]
    warmup: NotRequired[int]
    inferences: NotRequired[int]
    transport: NotRequired[str]
    workers: NotRequired[int]
    max_batch: NotRequired[int]
    max_wait_us: NotRequired[int]
    max_queue: NotRequired[int]


class Request(TypedDict):
    """`runoff.records.protocol.Request`, checked and with its defaults filled in."""

    protocol: int
    case: str
    workload: str
    model: ModelFile
    inputs: list[Item]
    preprocess: Preprocess
    segment: Segment
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

    On a device with separate memory, and for `segment`, the session also has the attribute ``parts``: the durations of
    each inference in nanoseconds, by the names of its parts.
    """

    def run(self, feed: Feed) -> Feed:
        """Run the model once; the outputs can be read on the CPU when it returns."""

    def effective(self) -> Fields:
        """Return `runoff.records.protocol.Effective` as the runtime reports it, without the fields the program adds."""


class SegmentSession(Session, Protocol):
    """A loaded model for `segment`: `run` gets a `runoff_runners.pictures.Picture` as the value of its input."""

    parts: dict[str, list[int]]
    segmentation: Fields
    """`runoff.records.protocol.Segmentation` of the latest inference."""


class ProfiledSession(Session, Protocol):
    """A loaded model whose runtime has a profiler, for the measure `operators`."""

    def end_profile(self) -> str:
        """Return the path of the profile of all inferences, a Chrome trace; there is nothing to profile afterwards."""


class Images(Protocol):
    """A function that turns image files into what `Session.run` takes for the model's first input."""

    def __call__(self, sources: list[Any], /) -> Any:  # noqa: ANN401 (an array, or a picture)
        """Return float32 [len(sources), 3, crop, crop]; for `segment`, one item's `runoff_runners.pictures.Picture`.

        `sources` are paths; for `segment`, indices into the request's inputs.
        """


class Spec(TypedDict, total=False):
    """What a model is prepared for."""

    inputs: list[TensorSpec]
    """With the shapes of one inference."""
    batch: int
    """Items per inference that these shapes are for."""
    builder: str | None
    builder_folder: str | None


class Target(Protocol):
    """A runner's interface to its runtime, often a module. Without ``PRECISIONS``, it computes in fp32 only.

    ``MOST_THREADS`` is the number that it can use, if that is limited; ``APPLIED`` has the values of a setting that
    have an effect, if not all do.
    """

    FORMATS: tuple[str, ...]
    MEASURES: tuple[str, ...]
    SETTINGS: tuple[str, ...]

    def capabilities(self) -> Fields:
        """Return the runtime's part of `runoff.records.protocol.Capabilities` on this machine."""

    def perform(self, request: Request, phases: Marks) -> Fields:
        """Carry out the request; return the target's fields of the result."""


class PreparingTarget(Target, Protocol):
    """A target that prepares models on this machine."""

    PREPARES: str
    """Format of the files that it makes, which is their suffix too."""

    def prepared_key(self, spec: Spec) -> Fields:
        """Return all that a prepared file depends on, except the model's file."""

    def write_prepared(self, model: str, path: str, spec: Spec) -> None:
        """Write the prepared form of the file or folder `model` to `path`."""

"""The runner protocol: requests to a runner, its results and its capabilities.

The JSON Schemas in ``protocol/`` define it; a test checks that these classes are the same, and ``protocol/README.md``
explains it. Times are nanoseconds on the system's monotonic clock (``CLOCK_MONOTONIC``), so the stamps of a runner can
be compared with those of the process that spawned it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from runoff.records.reason import Reason

PROTOCOL_VERSION: Literal[1] = 1

Positive = Annotated[int, Meta(ge=1)]
Threads = Annotated[int, Meta(ge=1, le=1024)]
Nanoseconds = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Bytes = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Workload = Literal["classify", "tensor", "segment"]
Optimization = Literal["disable", "basic", "extended", "all"]


class _RequestPart(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a request: runoff writes it, so an unknown field is a mistake."""


class _ResultPart(Struct, frozen=True):
    """A part of a result: fields that this version does not know are ignored."""


class Settings(_RequestPart, frozen=True, omit_defaults=True, kw_only=True):
    """Settings of a session. ``None`` keeps the runtime's default."""

    threads: Threads = 1
    """Threads that compute one operation."""
    inter_threads: Threads | None = None
    """Threads that run independent operations concurrently."""
    optimization: Optimization | None = None
    """Graph optimisation level."""
    spinning: bool | None = None
    """Whether waiting worker threads spin."""
    spin_duration_us: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    """Microseconds that a waiting worker thread spins before it sleeps; 0: it does not spin."""
    spin_backoff_max: Annotated[int, Meta(ge=1, le=64)] | None = None
    """Most pauses between two looks for work while spinning: 1, 2, 4 and so on up to it; 1: no backoff."""
    arena: bool | None = None
    """Whether the CPU memory arena is used."""
    prepacking: bool | None = None
    """Whether weights are repacked for the CPU when the model is loaded."""
    execution: Literal["sequential", "parallel"] | None = None
    provider: str = "cpu"
    precision: str = "fp32"
    batch: Positive = 1
    """Images, or tensor items, per inference."""
    profile: str = "default"
    """Name of the settings profile that these settings came from."""
    teardown: Literal["full", "skip"] | None = None
    """``skip``: exit without freeing the session, once the result is complete."""
    prepared: bool | Literal["onnx"] | None = None
    """Whether the model's file is one that was prepared on this machine: `ModelFile.format` is then ``ort`` or
    ``mlmodelc``; ``onnx``: an ONNX file that ONNX Runtime optimised, which is not mapped."""
    overlap: bool | None = None
    """Whether the first batch of images is made in a thread while the runtime starts and the model loads."""


class TensorSpec(_RequestPart, frozen=True):
    """A model's input or output. ``None`` in `shape` is a dynamic dimension."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class TensorFile(_RequestPart, frozen=True):
    """A tensor on disk: raw little-endian elements in C order, nothing else; strings with their lengths."""

    path: str
    dtype: str
    shape: tuple[int, ...]


class Preprocess(_RequestPart, frozen=True):
    """From pixels to tensor.

    The shorter side is resized to `resize` (the longer one to ``resize * longer // shorter``), a square of
    `crop` pixels is cut from the middle (offset ``(side - crop) // 2``), and every channel becomes
    ``(pixel - mean) / std`` in float32, NCHW, RGB. `mean` and `std` are in pixel units (0 to 255).
    """

    resize: Positive
    crop: Positive
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Segment(_RequestPart, frozen=True, kw_only=True):
    """From pixels to masks (`segment`).

    The longer side is resized to `size`, every channel becomes ``(pixel - mean) / std`` in float32, NCHW, RGB, and
    zeros are added to the right and below, to a square. The other fields have the names and defaults of
    segment_anything 1.0.
    """

    size: Positive
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mask_threshold: float = 0.0
    """A pixel belongs to a mask if its logit is above."""
    multimask: bool = True
    """Whether a prompt gets several masks, for an ambiguous one; a grid point always does."""
    points_per_side: Positive = 32
    points_per_batch: Positive = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: Annotated[int, Meta(ge=0, le=8)] = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: Positive = 1
    min_mask_region_area: Annotated[int, Meta(ge=0)] = 0
    """Pixels of the smallest hole and of the smallest separate part of a mask; 0 keeps all."""


class ModelFile(_RequestPart, frozen=True, omit_defaults=True):
    """The model to run, in the format that the target reads; `path` is a folder if the format is one."""

    name: str
    path: str
    format: str
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    builder: str | None = None
    """For formats that hold weights only: ``module:function`` that makes the network."""
    builder_folder: str | None = None
    """Absolute folder that the builder's module is imported from; null if it is runoff's own."""
    decoder: ModelFile | None = None
    """From an image embedding and prompts to masks (`segment`); null if the format holds both networks."""


class Prompt(_RequestPart, frozen=True, omit_defaults=True, kw_only=True):
    """What to segment, in pixels of the upright image: points (x, y), a box (left, upper, right, lower), a mask."""

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[Literal[0, 1], ...] = ()
    """One per point: 1 on what is wanted, 0 on what is not."""
    box: tuple[float, float, float, float] | None = None
    mask: TensorFile | None = None
    """Logits of an earlier mask, float32 [1, s, s]; s is the side of the decoder's masks."""


class Item(_RequestPart, frozen=True, omit_defaults=True):
    """One input: an image file (`classify`, `segment`), or a tensor file per model input (`tensor`).

    With a `Settings.batch` above 1, that many items are joined along the first axis, which is 1 in each of them.
    """

    image: str | None = None
    tensors: dict[str, TensorFile] | None = None
    prompts: tuple[Prompt, ...] | None = None
    """For `segment`; null: everything is segmented, from a grid of points."""


class Once(_RequestPart, frozen=True, tag_field="kind", tag="once", omit_defaults=True):
    """One inference on the first batch of items, as a short process does it."""

    memory: bool = False
    """Read the resident set after every phase too."""


class Latency(_RequestPart, frozen=True, tag_field="kind", tag="latency"):
    """Warm inferences, going round the items, until both minima are met."""

    min_samples: Positive
    min_ns: Nanoseconds
    warmup: Annotated[int, Meta(ge=0)]
    """Inferences after the second that are not stored."""


class Accuracy(_RequestPart, frozen=True, tag_field="kind", tag="accuracy"):
    """Every item once, in order; outputs and the tensors that went in are written to `outputs_dir`."""


class Turns(_RequestPart, frozen=True, tag_field="kind", tag="turns"):
    """Warm inferences on demand, on the items that each line of stdin names, with their durations on stdout."""

    warmup: Annotated[int, Meta(ge=0)]
    """Inferences after the second that are not stored."""


class Operators(_RequestPart, frozen=True, tag_field="kind", tag="operators"):
    """Inferences with the runtime's own profiler on, going round the items."""

    inferences: Positive
    """Inferences whose nodes are reported."""
    warmup: Annotated[int, Meta(ge=0)]
    """Inferences after the second that are not stored."""


class Mappings(_RequestPart, frozen=True, tag_field="kind", tag="mappings"):
    """As `Once`, with the resident memory by mapping after each phase."""


class Load(_RequestPart, frozen=True, tag_field="kind", tag="load", kw_only=True):
    """Requests that arrive while others wait or are computed: one session, shared by `workers` threads."""

    transport: Literal["pipe", "http"]
    """Lines of stdin and stdout, or HTTP on a port of the loopback interface."""
    workers: Positive = 1
    """Threads that call the session concurrently."""
    max_batch: Positive = 1
    """Most waiting requests that one inference takes."""
    max_wait_us: Annotated[int, Meta(ge=0)] = 0
    """Microseconds that the oldest request waits for more if fewer than `max_batch` wait."""
    max_queue: Positive = 1024
    """Most requests that may wait; others are refused."""
    warmup: Annotated[int, Meta(ge=0)]
    """Inferences after the second, before the first request."""


class Request(_RequestPart, frozen=True, kw_only=True):
    """A request to a runner."""

    protocol: Literal[1] = PROTOCOL_VERSION
    case: str
    workload: Workload
    model: ModelFile
    inputs: tuple[Item, ...]
    preprocess: Preprocess | None = None
    segment: Segment | None = None
    labels: str | None = None
    """Text file with a label per line; line `i` names output index `i`."""
    settings: Settings = Settings()
    measure: Once | Latency | Accuracy | Turns | Operators | Mappings | Load = Once()
    top_k: Positive = 5
    outputs_dir: str
    """Existing folder for the tensors that the runner writes."""
    spawn_ns: Nanoseconds | None = None
    """Spawn time of the process; null if the spawner cannot provide it (hyperfine)."""


class Phase(_ResultPart, frozen=True):
    """An interval of the process's life. Phases do not overlap and are in order of time."""

    name: str
    start_ns: Nanoseconds
    end_ns: Nanoseconds


class Timings(_ResultPart, frozen=True):
    """Durations of one part of an iteration: the first, the second, and all warm ones."""

    first_ns: Nanoseconds
    second_ns: Nanoseconds | None = None
    warm_ns: tuple[Nanoseconds, ...] = ()


class Arena(_ResultPart, frozen=True):
    """A memory arena of the runtime."""

    in_use_bytes: Bytes
    most_in_use_bytes: Bytes
    """Most memory in use so far."""
    reserved_bytes: Bytes
    """Memory that the arena holds, in use or not."""


class Memory(_ResultPart, frozen=True):
    """Resident memory of the runner's own process."""

    peak_bytes: Bytes | None = None
    """High-water mark at the end (``VmHWM`` on Linux)."""
    after: dict[str, Bytes] = {}
    """Resident set after each phase, by name; only if requested."""
    method: str | None = None
    """What was measured if not the resident set of the runner's process, as for a browser with its processes."""
    peak_after: dict[str, Bytes] = {}
    """High-water mark until the end of each phase (`mappings` only)."""
    mappings: dict[str, dict[str, Bytes]] = {}
    """Resident bytes after each phase, by mapping: a file's path, the kernel's name such as ``[heap]``, or an empty
    name for other memory (`mappings` only)."""
    arena: dict[str, Arena] = {}
    """The runtime's arena of host memory after the phases ``load`` and ``inference``, if it reports one (`mappings`
    only)."""


class WrittenTensor(_ResultPart, frozen=True):
    """A tensor that the runner wrote to `outputs_dir`, as a `TensorFile`, and the items it belongs to."""

    items: tuple[int, ...]
    name: str
    dtype: str
    shape: tuple[int, ...]
    path: str


class Guess(_ResultPart, frozen=True):
    """One of the top-k classes of an item. `confidence` is the softmax over all classes."""

    index: int
    confidence: float
    label: str | None = None


class Mask(_ResultPart, frozen=True, kw_only=True):
    """A mask of an image, with segment_anything's names: `counts` is COCO's uncompressed run-length encoding."""

    size: tuple[int, int]
    counts: tuple[Annotated[int, Meta(ge=0)], ...]
    """Pixels outside and inside the mask in turn, column by column; outside first, so it may begin with 0."""
    area: int
    bbox: tuple[float, float, float, float]
    """Left and upper edge, width and height in pixels; zeros if the mask is empty."""
    predicted_iou: float
    stability_score: float
    """0 if no pixel is above the lower threshold."""
    point_coords: tuple[tuple[float, float], ...]
    """The grid point; empty for a prompt."""
    crop_box: tuple[float, float, float, float]
    """Left and upper edge, width and height of the part of the image that was encoded."""


class Segmentation(_ResultPart, frozen=True, kw_only=True):
    """The masks of one item."""

    raw: Annotated[int, Meta(ge=0)]
    masks: tuple[Mask, ...]
    """In the order of segment_anything; for prompts, all masks of each prompt in the decoder's order."""


class Node(_ResultPart, frozen=True, kw_only=True):
    """A node of the graph that the runtime computed, after its optimisation."""

    name: str
    operator: str
    """As in ``Conv``."""
    provider: str
    inputs: tuple[str, ...]
    """The runtime's names of the types of its inputs, as in ``float16``."""
    kernel_ns: tuple[Nanoseconds, ...]
    """Time in its kernel in each of the inferences."""
    calls: Annotated[int, Meta(ge=0)]
    """In all these inferences: in a loop, more than one for each."""
    kernel: str | None = None
    """The runtime's name of its implementation, as in ``brgconv_avx512_1x1_f32``."""
    sources: tuple[str, ...] = ()
    """Names of the nodes of the model's file that it computes, if the runtime reports them."""
    shapes: tuple[tuple[int, ...], ...] = ()
    """Of its outputs."""


class Profile(_ResultPart, frozen=True):
    """The runtime's own profile of an inference process, a file in `outputs_dir`."""

    path: str
    format: str
    """``chrome-trace``: runoff reads the nodes from it."""


class Effective(_ResultPart, frozen=True):
    """What was in effect, read back from the runtime, not repeated from the request."""

    runtime: str
    version: str
    language: str
    provider: str | None = None
    threads: int | None = None
    """Threads that compute, counted or read back after the session was made."""
    build: str | None = None
    library: str | None = None
    """Path of the runtime's shared library, if there is one."""
    denormals: str | None = None
    """``kept`` or ``flushed``: how the calling thread treats denormal numbers."""
    allocator: str | None = None
    """What serves ``malloc``, the runtime's calls included, as in ``glibc 2.36``."""
    image_decoder: str | None = None
    """What decodes JPEG files, and how it was built if known, as in ``libjpeg-turbo 3.1.0, SIMD`` (`classify` only)."""
    planned: dict[str, int] | None = None
    """Operations by the device that the runtime plans to run them on (`accuracy` only); planned is not observed."""
    device: str | None = None
    """The GPU that computed, with its index and its driver's version, if known."""
    isolated: bool | None = None
    """Whether the page is isolated from other origins, without which it has no threads (in a browser only)."""
    clock_step_ns: int | None = None
    """Smallest step of the clock that timed the inferences, if it is coarser than nanoseconds (in a browser only)."""
    fetched: dict[str, int] | None = None
    """Bytes that the page loaded over HTTP, uncompressed: ``page``, ``runtime`` and ``model`` (in a browser only)."""
    ignored: tuple[str, ...] = ()
    """Requested settings that this target cannot apply."""
    practices: tuple[str, ...] = ()
    """Ways to be faster that no setting names, in effect: see ``docs/best-practice.md``."""
    precision: str | None = None
    """Precision of its floating-point arithmetic, in the words of `Settings.precision`, if the runtime reports it."""


class Result(_ResultPart, frozen=True, kw_only=True):
    """A runner's result."""

    protocol: Literal[1]
    case: str
    status: Literal["ok", "unsupported", "error"]
    kind: str | None = None
    message: str | None = None
    hint: str | None = None
    phases: tuple[Phase, ...] = ()
    samples: dict[str, Timings] = {}
    """By part of an iteration: `inference`, and `preprocess` if images are read; also the parts of `inference`: on a
    GPU with dedicated memory `copy_in`, `compute` and `copy_out`; for `segment` `encode`, `decode` and
    `postprocess`."""
    outputs: tuple[WrittenTensor, ...] = ()
    tensors: tuple[WrittenTensor, ...] = ()
    """What went into the model (`accuracy` only)."""
    top: tuple[tuple[Guess, ...], ...] = ()
    """For each item of the last batch, best first (`classify` only)."""
    segmentations: tuple[Segmentation, ...] = ()
    """For each item of the last batch (`segment` only)."""
    nodes: tuple[Node, ...] = ()
    """In the order in which they were first computed (`operators` only)."""
    profile: Profile | None = None
    """What runoff reads the nodes from, if the runner does not (`operators` only)."""
    cpu_ns: Nanoseconds | None = None
    """User and system time of the process since it was ready (`load` only)."""
    memory: Memory | None = None
    effective: Effective | None = None


class Unavailable(Reason, frozen=True):
    """The reason why a runner cannot run on this machine."""


class Capabilities(_ResultPart, frozen=True, kw_only=True):
    """The output of ``runner --probe``."""

    protocol: tuple[int, ...]
    runner: str
    language: str
    runtime: str
    version: str = ""
    build: str | None = None
    library: str | None = None
    workloads: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    """Providers that can be used on this machine."""
    unavailable_providers: dict[str, str] = field(default_factory=dict, name="lacking")
    """By name: the reason why another provider of the runtime cannot be used."""
    precisions: tuple[str, ...] = ("fp32",)
    measures: tuple[str, ...] = ("once",)
    settings: tuple[str, ...] = ("threads",)
    image_decoder: str | None = None
    """What decodes JPEG files, and how it was built if known, as in ``libjpeg-turbo 3.1.0, scalar``."""
    max_batch: int | None = None
    computes: bool = True
    """False for a runner without a model: its outputs are not compared."""
    unavailable: Unavailable | None = None

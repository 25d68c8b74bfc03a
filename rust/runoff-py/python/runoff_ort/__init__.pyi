"""Run ONNX models from Python through a Rust core.

>>> import numpy as np, runoff_ort
>>> session = runoff_ort.Session("double.onnx", threads=1)
>>> session.inputs
[TensorInfo(name='x', dtype='float32', shape=(None, 3))]
>>> session.run({"x": np.ones((1, 3), np.float32)})
{'y': array([[2., 2., 2.]], dtype=float32)}

The environment variable ``RUNOFF_ORT_DYLIB`` selects ONNX Runtime's shared library by its absolute path. If it is not
set, the library of the installed `onnxruntime` package is used, without importing the package. The first session loads
the library and creates its environment; `load_runtime` and `create_environment` do this ahead of time.

Every error is a `RunoffOrtError`, except a `TypeError` for an argument of the wrong type and a `MemoryError` if there
is not enough memory for an array. Most subclasses also derive from a built-in exception: a `MissingFileError` is a
`FileNotFoundError`, an `InvalidValueError` a `ValueError`. The GIL is released while a model is loaded or run and while
images are decoded. Subinterpreters cannot import this module.

`runoff_ort.onnxruntime` is a drop-in for code that uses onnxruntime: ``import runoff_ort.onnxruntime as ort``.

Tensors
-------
Bool, int8 to int64, uint8 to uint64, float16, float32 and float64 are NumPy dtypes. bfloat16 is the dtype of the
package `ml_dtypes`, which is imported when a model returns such a tensor; without it, two bytes of anything (``V2``),
which is accepted as an input too. String inputs are arrays of ``str``, ``object`` or ``numpy.dtypes.StringDType``;
string outputs are arrays of ``object``.

An input is an array, any object on the CPU with ``__dlpack__`` (PyTorch, JAX, ...), or a number, a string or a list of
them. Numbers, strings and lists are converted to the input's dtype: floats may be rounded, but a conversion that would
drop a fraction or overflow an integer raises an error. An aligned, C-contiguous array in native byte order is read in
place. Other arrays are copied once, and so are strings. If all inputs and outputs have fixed shapes of up to 4096
bytes, `Session.run` copies them, which is faster.

An output is a new, writable array that stays valid after the session is deleted. Outputs of up to 4096 bytes are
copied; larger ones share ONNX Runtime's memory.

The dtype, shape and strides of an array are read once: changes by other threads or values do not affect the call. While
an array is in use, ``ndarray.resize`` raises an error, even with ``refcheck=False``. Do not write to an input while a
model runs: ONNX Runtime reads its memory with the GIL released. Methods that free an array's memory despite other
references, such as ``ndarray.__setstate__``, are unsafe here too.

Other values
------------
Sequences are lists, maps are dicts, and an empty optional is None. Maps are returned with Python numbers and strings.
An empty list is accepted only for a sequence of tensors.
"""

from collections.abc import Coroutine, Mapping, Sequence
from os import PathLike
from typing import Any, Final, Literal, SupportsFloat, TypeAlias, TypedDict, final, type_check_only

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "JPEG_DECODER",
    "PROFILES",
    "Binding",
    "DeviceBinding",
    "DeviceTensor",
    "InvalidValueError",
    "Metadata",
    "MissingFileError",
    "NoSpaceError",
    "RunOptions",
    "RunTimeoutError",
    "RunoffOrtError",
    "RuntimeMissingError",
    "Segmenter",
    "Session",
    "TensorInfo",
    "__version__",
    "create_environment",
    "lacking",
    "library_path",
    "load_runtime",
    "make_environment",
    "prepare",
    "preprocess",
    "providers",
    "runtime_build",
    "runtime_version",
    "unavailable_providers",
]

# These names exist for type checkers only.
_Array: TypeAlias = NDArray[Any]
_Value: TypeAlias = Any  # an array, a list of values, a dict, or None
_Path: TypeAlias = str | PathLike[str]
_LogLevel: TypeAlias = Literal["verbose", "info", "warning", "error", "fatal"]
_Kind: TypeAlias = Literal[
    "bad-request",
    "model-missing",
    "model-unreadable",
    "model-mismatch",
    "model-unsupported",
    "image-missing",
    "image-unreadable",
    "image-too-large",
    "tensor-unreadable",
    "provider-unavailable",
    "runtime-missing",
    "runtime-failed",
    "no-space",
    "internal",
    "timed-out",
    "cancelled",
]

JPEG_DECODER: Final[str]
"""The JPEG decoder and its version, with ``SIMD`` or ``scalar`` for how it was built."""
__version__: Final[str]
"""Version of this package."""

PROFILES: dict[str, dict[str, object]]
"""Settings of each profile, by the names of `Session`'s parameters. This is a copy: changing it has no effect.

``default`` sets nothing; ``cold`` is best for one short process; ``latency`` is best for many calls.

>>> runoff_ort.PROFILES["cold"]["arena"]
False
"""

class RunoffOrtError(RuntimeError):
    """Base class of this module's errors, with a kind and a hint.

    >>> try:
    ...     runoff_ort.Session("nowhere.onnx")
    ... except runoff_ort.RunoffOrtError as error:
    ...     print(error.kind, "|", error.message)
    model-missing | model not found: nowhere.onnx
    """

    kind: _Kind
    """Kind of failure: one of the runner protocol's, or ``timed-out`` or ``cancelled`` for a run that was stopped."""
    message: str
    """Cause of the failure, with the file or argument at fault."""
    hint: str
    """What to do next; empty if the message already says it."""

class MissingFileError(RunoffOrtError, FileNotFoundError):
    """A model or an image was not found: ``model-missing``, ``image-missing``."""

class InvalidValueError(RunoffOrtError, ValueError):
    """An argument, file or array cannot be used.

    `kind` is ``bad-request``, ``model-mismatch``, ``model-unreadable``, ``image-unreadable``, ``image-too-large`` or
    ``tensor-unreadable``.
    """

class NoSpaceError(RunoffOrtError, OSError):
    """The disk is full: ``no-space``."""

class RuntimeMissingError(RunoffOrtError, ImportError):
    """ONNX Runtime's library is missing, invalid or too old: ``runtime-missing``."""

class RunTimeoutError(RunoffOrtError, TimeoutError):
    """A run took longer than its timeout: ``timed-out``."""

@final
class TensorInfo:
    """An input or output of a model. Instances with equal attributes compare equal."""

    @property
    def name(self) -> str:
        """Name in the graph."""

    @property
    def dtype(self) -> str:
        """Element type: a NumPy dtype name, ``bfloat16`` or ``str``.

        For other values, the ONNX type: ``seq(tensor(float))``, ``map(int64,tensor(float))`` or
        ``optional(tensor(float))``.
        """

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Dimensions, None if dynamic. Empty for scalars, for an unknown rank and for values other than tensors."""

    @property
    def dimensions(self) -> tuple[str | None, ...]:
        """Names of the dimensions, such as ``batch``; None if fixed or unnamed. Same length as `shape`."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Metadata:
    """Metadata stored in the model; missing strings are empty. Instances with equal attributes compare equal."""

    @property
    def producer(self) -> str:
        """Program that made the file."""

    @property
    def graph(self) -> str:
        """Name of the graph."""

    @property
    def graph_description(self) -> str:
        """Description of the graph."""

    @property
    def domain(self) -> str:
        """Domain of the model, such as ``org.example``."""

    @property
    def description(self) -> str:
        """Description of the model."""

    @property
    def version(self) -> int:
        """Version of the model; 0 if it has none."""

    @property
    def custom(self) -> dict[str, str]:
        """Custom metadata, by key."""

    def __eq__(self, other: object, /) -> bool: ...

@type_check_only
class PreprocessSpec(TypedDict):
    """Preprocessing, from pixels to tensor. This class exists for type checkers only: pass a plain dict.

    The shorter side is resized to `resize` pixels, the longer one to ``resize * longer // shorter``. Then a square of
    `crop` pixels is cut from the centre, and each channel becomes ``(pixel - mean) / std``. `mean` and `std` are in
    pixel units (0 to 255).
    """

    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: Sequence[float]
    std: Sequence[float]

@final
class Session:
    """A loaded model. Any number of threads can call it concurrently.

    Parameters
    ----------
    path
        An ONNX file, or a file written by `prepare`, which is memory-mapped and used in place: do not change it while
        the session exists. External weights must be in the model's folder. Alternatively the content of such a file, as
        bytes or another buffer, which is copied.
    profile
        Name of a profile, see `PROFILES`, or the path of a file written by ``runoff tune``, which ends in ``.toml``.
        The arguments below override it. A file with ``prepared = true`` needs a model from `prepare`, or a
        `UserWarning` says that this is not applied. ``teardown``, ``overlap`` and ``batch`` in it are a program's, and
        have no effect here.
    threads
        Threads per operation (intra-op), 1 to 1024. None lets ONNX Runtime use all cores. By default, those of the
        profile's file, else 1.
    inter_threads
        Threads that run independent operations concurrently (inter-op), 1 to 1024, with ``execution="parallel"``.
    optimization
        Graph optimisation level.
    spinning
        Whether idle worker threads spin, which lowers latency but burns CPU.
    spin_duration_us
        Microseconds that an idle worker thread spins before it sleeps, 0 to 1,000,000; 0: it does not spin.
    spin_backoff_max
        Most pauses between two looks for work while spinning, 1 to 64: 1, 2, 4 and so on up to it; 1: no backoff.
    arena
        Whether the CPU memory arena is used.
    prepacking
        Whether weights are repacked for the CPU when the model is loaded.
    execution
        Whether operations run one after another or in parallel.
    provider
        Execution provider, one of `providers`. If it is unavailable, the error lists what is missing. With any provider
        other than ``cpu``, the entire model runs on that provider, or creating the session fails. ``cuda`` and
        ``tensorrt`` use the first NVIDIA GPU; CUDA runs the operations that TensorRT does not support. ONNX Runtime's
        own TF32 option is off. To disable TF32 in cuDNN and TensorRT as well, set the environment variable
        ``NVIDIA_TF32_OVERRIDE=0`` before the first session. NVIDIA's libraries are loaded from the NVIDIA packages next
        to onnxruntime, or else from the system's search path.
    precision
        Numeric precision of the model's file: fp32, fp16, bf16, int8 or int8-static. It changes nothing.
    batch
        Items per call, 1 to 2^31 - 1, for providers other than ``cpu``: dimensions named ``batch`` are fixed at this
        size, so no shape operations remain for the CPU. With ``cpu``, a session takes any number of items.
    force_spinning_stop
        Whether worker threads stop spinning when the last concurrent run ends, instead of waiting for the next one. Use
        it in a process that shares its cores and calls the model in bursts.
    config
        Entries of ONNX Runtime's session configuration, such as ``{"session.set_denormal_as_zero": "1"}``. They are
        applied last and override the arguments above. ONNX Runtime ignores unknown entries.
    dimensions
        Sizes of dynamic dimensions, by name. The graph is optimised for them.
    log_level
        How much ONNX Runtime logs to stderr for this session. The default is ``ORT_LOG``, or nothing if it is not set.
    profiling
        Prefix of the name of a file that receives the duration of every operation, see `end_profiling`.
    providers
        Execution providers in order of preference, instead of `provider`: names, or pairs of a name and options with
        ONNX Runtime's names, as in ``[("cuda", {"device_id": 1, "gpu_mem_limit": 2**30}), "cpu"]``. Each provider
        computes the operations that it supports and that those before it left. If ``cpu`` is not the last of them, the
        whole model must run on the others, as with `provider`.
    custom_op_libraries
        Paths of shared libraries with custom operators that the model uses. Each exports ``RegisterCustomOps``.
    denotations
        Sizes of dynamic dimensions, by denotation, such as ``DATA_BATCH``.
    initializers
        Arrays in place of the model's own initialisers, by name, with their dtype and shape. They are read in place as
        long as the session exists, by all sessions that are given them: do not write to them. An array that is not
        aligned, C-contiguous and in native byte order is copied. ONNX Runtime optimises the graph with the model's own
        values: if the arrays differ from them, use ``optimization="disable"``.
    external_initializers
        Arrays for initialisers that the model stores in other files, by name, as `initializers`; or the contents of
        such files, bytes or another buffer, by the name of the file.
    session_options
        Further options of ONNX Runtime, by their names in onnxruntime's ``SessionOptions``: ``enable_mem_pattern`` and
        ``use_deterministic_compute`` are bools, ``logid`` is a str, ``log_verbosity_level`` an int,
        ``graph_optimization_level`` 0, 1, 2, 3 or 99, and ``optimized_model_filepath`` the path of a file that receives
        the optimised model.

    Raises
    ------
    TypeError
        An argument is of the wrong type.
    RunoffOrtError
        `kind` is ``runtime-missing``, ``model-missing``, ``model-unreadable``, ``provider-unavailable``,
        ``bad-request`` or ``runtime-failed``.

    Notes
    -----
    Except for `threads`, a setting of None takes the profile's value, or ONNX Runtime's default if the profile does not
    set it.

    Examples
    --------
    >>> session = runoff_ort.Session("double.onnx", profile="latency", threads=2, spinning=False)
    >>> [output.name for output in session.outputs]
    ['y']

    With an event loop:

    >>> import asyncio
    >>> async def answer(x):
    ...     return await asyncio.to_thread(session.run, {"x": x})
    >>> asyncio.run(answer(np.ones((1, 3), np.float32)))
    {'y': array([[2., 2., 2.]], dtype=float32)}
    """

    def __new__(
        cls,
        path: _Path | bytes | bytearray | memoryview | _Array,
        *,
        profile: str = "default",
        threads: int | None = ...,
        inter_threads: int | None = None,
        optimization: Literal["disable", "basic", "extended", "all"] | None = None,
        spinning: bool | None = None,
        spin_duration_us: int | None = None,
        spin_backoff_max: int | None = None,
        arena: bool | None = None,
        prepacking: bool | None = None,
        execution: Literal["sequential", "parallel"] | None = None,
        provider: str = "cpu",
        precision: str = "fp32",
        batch: int = 1,
        force_spinning_stop: bool = False,
        config: Mapping[str, str] | None = None,
        dimensions: Mapping[str, int] | None = None,
        log_level: _LogLevel | None = None,
        profiling: _Path | None = None,
        providers: Sequence[str | tuple[str, Mapping[str, object]]] | None = None,
        custom_op_libraries: Sequence[_Path] | None = None,
        denotations: Mapping[str, int] | None = None,
        initializers: Mapping[str, _Array] | None = None,
        external_initializers: Mapping[str, _Array | bytes | bytearray | memoryview] | None = None,
        session_options: Mapping[str, object] | None = None,
    ) -> Session: ...
    def __getnewargs_ex__(self) -> tuple[tuple[PathLike[str]], dict[str, Any]]:
        """Return the absolute path of the file and the settings, from which pickle creates the session again.

        Raises
        ------
        TypeError
            The session was created from bytes.
        """

    @property
    def inputs(self) -> list[TensorInfo]:
        """Inputs of the model, in graph order. Initialisers that can be overridden are not listed."""

    @property
    def overridable_initializers(self) -> list[TensorInfo]:
        """Initialisers that the model also lists as inputs: `run` accepts values for them, and needs none.

        >>> session.overridable_initializers
        []
        """

    @property
    def outputs(self) -> list[TensorInfo]:
        """Outputs of the model, in graph order."""

    @property
    def metadata(self) -> Metadata:
        """Metadata stored in the model."""

    @property
    def device(self) -> str | None:
        """The GPU in use, such as ``NVIDIA H100 80GB HBM3 (0), driver 580.65.06``; None on the CPU."""

    @property
    def threads(self) -> int | None:
        """Compute threads, counted when the session was created; None on a GPU or if the system does not count them."""

    def run(
        self,
        feeds: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        *,
        timeout: SupportsFloat | None = None,
        options: RunOptions | None = None,
    ) -> dict[str, _Value]:
        """Run the model once.

        Parameters
        ----------
        feeds
            A value for each input, by name, with the dtype and shape that the model expects. Initialisers that the
            model lists among its inputs can be overridden. An optional input can be omitted or None.
        outputs
            Names of the outputs to return, at least one. None returns all. ONNX Runtime computes the entire graph in
            either case.
        timeout
            Time limit in seconds. The run stops when the operation in progress is done.
        options
            Options of the run, which also let another thread cancel it. Cannot be combined with `timeout`.

        Notes
        -----
        All arrays are in host memory. On a GPU, each call of `run` and `run_into` and each run of a `Binding` copies
        inputs to the device and outputs back. `on_device` keeps buffers on the device between calls.

        Returns
        -------
        dict
            A new value for each requested output, by name, in the order of `outputs` or of the graph.

        Raises
        ------
        TypeError
            A value does not have the input's dtype, or is not a list or dict although the model expects one.
        RunoffOrtError
            `kind` is ``model-mismatch`` if names, ranks or dimensions do not match, ``bad-request`` if `outputs` is
            empty, ``runtime-failed`` if the model fails, ``timed-out`` or ``cancelled`` if the run was stopped.

        Examples
        --------
        >>> session.run({"x": [[1, 2, 3]]}, timeout=60)
        {'y': array([[2., 4., 6.]], dtype=float32)}
        >>> x = np.arange(6, dtype=np.float32).reshape(2, 3)
        >>> session.run({"x": x}, ["y"])["y"].shape
        (2, 3)
        """

    def run_async(
        self,
        feeds: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        *,
        options: RunOptions | None = None,
    ) -> Coroutine[Any, Any, dict[str, _Value]]:
        """Run the model once without blocking the event loop of asyncio.

        The model runs in a thread of the loop's default executor. If the task is cancelled, or a timeout of asyncio
        expires, the run ends after the operation that is being computed; only then is the exception raised, so the
        arrays are free again.

        Parameters
        ----------
        feeds, outputs
            As in `run`.
        options
            Options of the run. Cancelling the task cancels them, and with them every other run that uses them.

        Returns
        -------
        Coroutine
            Its result is that of `run`.

        Raises
        ------
        TypeError, RunoffOrtError
            As `run` does, when the coroutine is awaited.

        Examples
        --------
        >>> async def double(x):
        ...     return await asyncio.wait_for(session.run_async({"x": x}), timeout=60)
        >>> asyncio.run(double([[1, 2, 3]]))
        {'y': array([[2., 4., 6.]], dtype=float32)}
        """

    def run_into(
        self,
        feeds: Mapping[str, Any],
        outputs: Mapping[str, _Array],
        *,
        timeout: SupportsFloat | None = None,
        options: RunOptions | None = None,
    ) -> None:
        """Run the model once and write the outputs into existing arrays.

        Parameters
        ----------
        feeds
            See `run`.
        outputs
            An array for each requested output, by name, at least one. Arrays must be writable, C-contiguous, aligned,
            in native byte order, and of the output's dtype and shape. They must not share memory with each other or
            with an input, or be used elsewhere while the model runs. Strings, lists and dicts are not supported, nor
            are outputs that the model passes through from an input.
        timeout, options
            See `run`. If the run is stopped, the contents of the arrays are undefined.

        Raises
        ------
        TypeError
            See `run`; or an array is not C-contiguous, aligned and in native byte order.
        RunoffOrtError
            See `run`. `kind` is ``bad-request`` if an array is read-only or shares memory, ``model-mismatch`` if its
            shape cannot match, ``runtime-failed`` if the mismatch only shows during the run.

        Examples
        --------
        >>> y = np.empty((2, 3), np.float32)
        >>> session.run_into({"x": x}, {"y": y})
        >>> y[1]
        array([ 6.,  8., 10.], dtype=float32)
        """

    def bind(self, feeds: Mapping[str, _Array], outputs: Mapping[str, _Array] | None = None) -> Binding:
        """Bind inputs and outputs for repeated calls, which skip all checks and conversions.

        Parameters
        ----------
        feeds
            An array for each input, by name: C-contiguous, aligned, in native byte order, and of the input's dtype and
            shape. Strings, lists and dicts cannot be bound.
        outputs
            Arrays for outputs, see `run_into`. Outputs without an array are allocated in each run.

        Raises
        ------
        TypeError, RunoffOrtError
            See `run_into`.
        """

    def on_device(self) -> DeviceBinding:
        """Allocate inputs and outputs in the memory of the session's device, for repeated calls.

        Raises
        ------
        RunoffOrtError
            `kind` is ``model-mismatch`` if an input or output is not a numeric tensor, ``runtime-failed`` if there is
            not enough memory.
        """

    def end_profiling(self) -> str:
        """Stop profiling and return the path of the profile, a file in Chrome's trace format.

        Runs in progress may be missing from the profile; later runs are not recorded.

        Raises
        ------
        InvalidValueError
            Profiling is not active.
        """

    def profiling_start_ns(self) -> int:
        """Return the time at which profiling started, in nanoseconds of ONNX Runtime's clock; 0 without profiling.

        Raises
        ------
        RunoffOrtError
            `kind` is ``runtime-failed``.
        """

    def classify(
        self, image_path: _Path, preprocess: PreprocessSpec | Mapping[str, object], top: int = 5
    ) -> list[tuple[int, float]]:
        """Classify the image in a file.

        Parameters
        ----------
        image_path
            A JPEG, PNG, WebP, BMP or TIFF file.
        preprocess
            Preprocessing of the image to the model's input, float32 of shape ``[1, 3, crop, crop]``.
        top
            Number of classes to return.

        Returns
        -------
        list
            Index and confidence (softmax over all classes of the first output), best first.

        Raises
        ------
        RunoffOrtError
            See `preprocess` and `run`.
        """

    def classify_batch(
        self,
        image_paths: Sequence[_Path],
        preprocess: PreprocessSpec | Mapping[str, object],
        top: int = 5,
        batch: int | None = None,
    ) -> list[list[tuple[int, float]]]:
        """Classify the images in files, in batches.

        Parameters
        ----------
        image_paths
            JPEG, PNG, WebP, BMP or TIFF files.
        preprocess
            Preprocessing of the images to the model's input, float32 of shape ``[batch, 3, crop, crop]``.
        top
            Number of classes to return for each image.
        batch
            Images per inference, at least 1; None means all. Memory use grows with it. If the first dimension of the
            model's input is fixed, it overrides `batch`, and the last batch is padded with the last image.

        Returns
        -------
        list
            The result of `classify` for each image.

        Raises
        ------
        RunoffOrtError
            See `classify`; raised for the first image that fails.
        """

@final
class Segmenter:
    """Promptable segmentation with two models, such as those of Segment Anything, and postprocessing in Rust.

    Masks are those of the package segment-anything 1.0 with the same models, in the same order. Calls of several
    threads wait for each other.

    Parameters
    ----------
    encoder
        Model from a picture, float32 of shape ``[1, 3, size, size]``, to its embeddings. A path or bytes, as for
        `Session`.
    decoder
        Model from embeddings and prompts to masks. Its inputs are among ``image_embeddings``, ``point_coords``
        ``[n, p, 2]``, ``point_labels`` ``[n, p]``, ``mask_input`` ``[n, 1, s, s]``, ``has_mask_input`` ``[n]`` and
        ``orig_im_size`` ``[2]``. Its outputs are ``iou_predictions`` ``[n, m]`` and ``low_res_masks`` ``[n, m, s, s]``;
        ``masks`` ``[n, m, h, w]``, at the size of the picture, is used if there is one. With four masks for a prompt,
        the first is for unambiguous prompts, the others are for ambiguous ones.
    size
        Side of the encoder's input in pixels: the longer side of a picture is resized to it, the rest is zero.
    mean, std
        What is subtracted from each channel, and what it is divided by, in pixel units (0 to 255). By default those of
        Segment Anything.
    mask_threshold
        Logits above it belong to a mask.
    settings
        The keyword arguments of `Session`, for both models. Postprocessing uses as many threads as the encoder.

    Raises
    ------
    TypeError
        An argument is of the wrong type.
    RunoffOrtError
        See `Session`. `kind` is ``model-mismatch`` or ``model-unsupported`` if a model is not one of those.

    Examples
    --------
    ::

        segmenter = runoff_ort.Segmenter("encoder.onnx", "decoder.onnx", threads=2)
        segmenter.set_image("photo.jpg")
        masks, ious, low_res = segmenter.predict(points=[[320, 240]], labels=[1])
        better, _, _ = segmenter.predict(points=[[320, 240]], labels=[1], mask=low_res[ious.argmax()], multimask=False)
        everything = segmenter.generate(points_per_side=16)
    """

    def __new__(
        cls,
        encoder: _Path | bytes | bytearray | memoryview | _Array,
        decoder: _Path | bytes | bytearray | memoryview | _Array,
        *,
        size: int = 1024,
        mean: Sequence[float] = ...,
        std: Sequence[float] = ...,
        mask_threshold: float = 0.0,
        **settings: Any,
    ) -> Segmenter: ...
    @property
    def encoder(self) -> Session:
        """The session of the encoder."""

    @property
    def decoder(self) -> Session:
        """The session of the decoder."""

    def set_image(self, image: _Path | NDArray[np.uint8], *, encode: bool = True) -> None:
        """Preprocess a picture and run the encoder on it.

        Parameters
        ----------
        image
            RGB pixels, uint8 of shape ``[h, w, 3]``, or the path of a JPEG, PNG, WebP, BMP or TIFF file, see
            `preprocess`.
        encode
            Whether to run the encoder now; if not, call `encode` before the next method.

        Raises
        ------
        TypeError
            `image` is neither.
        RunoffOrtError
            See `preprocess` and `Session.run`.
        """

    def encode(self) -> None:
        """Run the encoder on the current picture.

        Raises
        ------
        RunoffOrtError
            See `Session.run`.
        """

    def predict(
        self,
        points: Sequence[Sequence[float]] | _Array | None = None,
        labels: Sequence[int] | _Array | None = None,
        box: Sequence[float] | _Array | None = None,
        mask: NDArray[np.float32] | None = None,
        multimask: bool = True,
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
        """Return the masks of a prompt in the current picture.

        Parameters
        ----------
        points
            x and y of each point, in pixels of the picture.
        labels
            For each point: 1 on the object, 0 off it.
        box
            Left, top, right and bottom of a box around the object, in pixels of the picture.
        mask
            Low-resolution logits of an earlier prediction, of one mask.
        multimask
            Whether to return all masks of an ambiguous prompt, or one.

        Returns
        -------
        tuple
            Masks, bool of shape ``[m, h, w]``; the model's estimates of their quality, float32 of shape ``[m]``; and
            their low-resolution logits, float32 of shape ``[m, s, s]``.

        Raises
        ------
        TypeError
            An argument is of the wrong type.
        RunoffOrtError
            `kind` is ``bad-request`` if the prompt is empty, contradicts itself or is outside the picture, or there is
            no picture; ``model-unsupported`` if the decoder takes no masks; ``model-mismatch`` or ``runtime-failed``.
        """

    def generate(
        self,
        *,
        points_per_side: int = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = ...,
        crop_n_points_downscale_factor: int = 1,
        min_mask_region_area: int = 0,
        output_mode: Literal["binary_mask", "uncompressed_rle"] = "binary_mask",
    ) -> list[dict[str, Any]]:
        """Return the masks of everything in the current picture, with a grid of points as prompts.

        Parameters
        ----------
        points_per_side
            Points of the grid along each side, 1 to 1024.
        points_per_batch
            Points that the decoder gets at once; memory use grows with it.
        pred_iou_thresh
            Masks with at most this predicted IoU are dropped.
        stability_score_thresh
            Masks with a lower stability score are dropped: the IoU of the masks at two thresholds.
        stability_score_offset
            Distance of these two thresholds from `mask_threshold`.
        box_nms_thresh
            IoU of boxes above which the worse of two masks is dropped.
        crop_n_layers
            Layers of crops of the picture, in which masks are searched too: the i-th layer has ``4 ** i``.
        crop_nms_thresh
            As `box_nms_thresh`, for masks of different crops.
        crop_overlap_ratio
            Overlap of crops, as a share of the picture's shorter side; 512 / 1500 by default.
        crop_n_points_downscale_factor
            Factor by which each layer of crops has fewer points along a side.
        min_mask_region_area
            Holes and islands of fewer pixels are removed.
        output_mode
            Masks as arrays, bool of shape ``[h, w]``, or as COCO's uncompressed RLE: a dict with ``size`` and
            ``counts``.

        Returns
        -------
        list
            For each mask a dict with the keys ``segmentation``, ``area``, ``bbox`` (left, top, width, height),
            ``predicted_iou``, ``point_coords``, ``stability_score`` and ``crop_box``.

        Raises
        ------
        TypeError
            An argument is of the wrong type.
        RunoffOrtError
            `kind` is ``bad-request`` if an argument is out of range or there is no picture; ``model-mismatch`` or
            ``runtime-failed``.
        """

    @property
    def image_embeddings(self) -> _Array:
        """A copy of the embeddings of the current picture."""

    @property
    def timings(self) -> dict[str, int]:
        """Nanoseconds since the current picture was set: ``preprocess``, ``encode``, ``decode``, ``postprocess``.

        The parts of all calls are added up. ``encode`` includes the preprocessing of crops.
        """

    @property
    def raw_masks(self) -> int:
        """Number of masks that the decoder returned since the current picture was set, before any filter."""

@final
class RunOptions:
    """Options of one or more runs, and a handle to cancel them.

    Parameters
    ----------
    config
        Entries of ONNX Runtime's run configuration. ONNX Runtime ignores unknown entries.
    log_level
        How much ONNX Runtime logs to stderr for these runs.
    tag
        Name of the runs in the log.
    log_verbosity
        How much is logged at the level ``verbose``; higher means more.

    Examples
    --------
    >>> options = runoff_ort.RunOptions()
    >>> options.cancel()
    >>> try:
    ...     session.run({"x": x}, options=options)
    ... except runoff_ort.RunoffOrtError as error:
    ...     print(error.kind)
    cancelled
    >>> options.reset()
    >>> session.run({"x": x}, options=options)["y"].shape
    (2, 3)
    """

    def __new__(
        cls,
        *,
        config: Mapping[str, str] | None = None,
        log_level: _LogLevel | None = None,
        tag: str | None = None,
        log_verbosity: int | None = None,
    ) -> RunOptions: ...
    def cancel(self) -> None:
        """Cancel all runs with these options, in any thread, and reject new ones until `reset`.

        A run stops when the operation in progress is done.
        """

    def reset(self) -> None:
        """Allow new runs with these options after `cancel`."""

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called, without a `reset` since."""

@final
class Binding:
    """Inputs and outputs bound to a session for repeated calls, created by `Session.bind`.

    Each run reads and writes the arrays in place: change the elements of the inputs between runs. A binding runs one
    call at a time, and other threads wait: create one per thread.

    Examples
    --------
    >>> binding = session.bind({"x": x}, {"y": y})
    >>> x[:] = 1
    >>> binding.run()["y"] is y
    True
    >>> y[0]
    array([2., 2., 2.], dtype=float32)
    """

    def run(self, *, timeout: SupportsFloat | None = None, options: RunOptions | None = None) -> dict[str, _Value]:
        """Run the model once.

        Parameters
        ----------
        timeout, options
            See `Session.run`. If the run is stopped, the contents of the bound outputs are undefined.

        Returns
        -------
        dict
            All outputs, by name, in graph order: the bound arrays themselves, and new values for the others.

        Raises
        ------
        RunoffOrtError
            `kind` is ``runtime-failed`` if the model fails, ``timed-out`` or ``cancelled`` if the run was stopped.
        """

    @property
    def inputs(self) -> dict[str, _Array]:
        """The bound inputs, by name."""

    @property
    def outputs(self) -> dict[str, _Array]:
        """The bound outputs, by name."""

@final
class DeviceBinding:
    """Inputs and outputs in the memory of the session's device, created by `Session.on_device`.

    If the model's shapes are fixed, memory is allocated on creation; otherwise the first `copy_in` allocates it, and a
    later one only if shapes change. Outputs whose shape cannot be derived from the inputs are allocated in each
    `compute`. Each method returns when the device is done, so the steps can be timed separately. The methods of one
    binding run one at a time: create one binding per thread. With the provider ``cpu``, the device is the host.

    Examples
    --------
    >>> binding = session.on_device()
    >>> binding.copy_in({"x": x})
    >>> binding.compute()
    >>> binding.copy_out()["y"][0]
    array([2., 2., 2.], dtype=float32)
    """

    def copy_in(self, feeds: Mapping[str, _Array]) -> None:
        """Copy inputs to the device.

        Parameters
        ----------
        feeds
            An array for each input, by name, with the dtype and shape that the model expects. It can be changed
            afterwards. On a GPU, a C-contiguous tensor with ``__dlpack__`` in the memory of GPU 0 is copied on the
            GPU, not through host memory.

        Raises
        ------
        TypeError, RunoffOrtError
            See `Session.run`.
        """

    def compute(self) -> None:
        """Run the model on the inputs on the device.

        Raises
        ------
        RunoffOrtError
            `kind` is ``runtime-failed`` if the model fails or `copy_in` was not called.
        """

    def copy_out(self) -> dict[str, _Array]:
        """Copy the outputs of the last `compute` from the device.

        Returns
        -------
        dict
            A new array for each output, by name, in graph order.

        Raises
        ------
        RunoffOrtError
            `kind` is ``runtime-failed`` if `compute` was not called.
        """

    def outputs(self) -> dict[str, DeviceTensor]:
        """Return the outputs that were computed last without copying them from the device.

        The next `compute` may write into the same memory: copy what is needed for longer.

        Returns
        -------
        dict
            A tensor for each output, by name, in the order of the graph.

        Raises
        ------
        RunoffOrtError
            `kind` is ``runtime-failed`` if nothing was computed.

        Examples
        --------
        >>> binding.outputs()
        {'y': DeviceTensor(dtype='float32', shape=(2, 3))}
        >>> np.from_dlpack(binding.outputs()["y"])[0]
        array([2., 2., 2.], dtype=float32)

        On a GPU, ``torch.from_dlpack(binding.outputs()["y"])`` is a tensor on that GPU. One model after another:

        >>> second = session.on_device()
        >>> second.copy_in({"x": binding.outputs()["y"]})
        >>> second.compute()
        >>> second.copy_out()["y"][0]
        array([4., 4., 4.], dtype=float32)
        """

@final
class DeviceTensor:
    """An output in the memory of a session's device. `DeviceBinding.outputs` makes one.

    It is passed on in place by DLPack, which PyTorch, CuPy, JAX and NumPy (on the CPU) read. It keeps its binding.
    """

    @property
    def dtype(self) -> str:
        """NumPy's name of the element type, or ``bfloat16``."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sides."""

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return DLPack's type and index of the device: ``(1, 0)`` is the host, ``(2, 0)`` the first NVIDIA GPU."""

    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a capsule of the tensor, which is not copied. Its elements are computed: no stream has to wait.

        Raises
        ------
        BufferError
            If a copy or another device is requested.
        """

def preprocess(
    paths: Sequence[_Path | bytes],
    resize: int,
    crop: int,
    interpolation: Literal["bilinear", "bicubic"],
    mean: Sequence[float],
    std: Sequence[float],
) -> NDArray[np.float32]:
    """Read, decode, resize, crop and normalise images.

    Parameters
    ----------
    paths
        JPEG, PNG, WebP, BMP or TIFF files, or their contents as bytes. The EXIF orientation is applied, colour
        profiles are ignored, and transparency is dropped. With 16 bits per channel, the upper 8 are used.
    resize, crop, interpolation, mean, std
        See `PreprocessSpec`. Sizes are 1 to 16384 pixels.

    Returns
    -------
    numpy.ndarray
        float32 of shape ``[len(paths), 3, crop, crop]``, RGB. Before normalisation, pixels are within 2 of 255 of the
        result of Pillow's `resize` with ``box``: both decode with libjpeg-turbo, but their resizers round differently.

    Raises
    ------
    RunoffOrtError
        `kind` is ``image-missing``, ``image-unreadable``, ``image-too-large`` or ``bad-request``.
    """

def prepare(path: _Path, folder: _Path | None = None) -> str:
    """Optimise a model for this machine and save it in ONNX Runtime's own format, which loads fastest.

    The file is named after the model's SHA-256, ONNX Runtime's version and build, and the CPU. It is reused until one
    of them changes. Use it only on this machine.

    Parameters
    ----------
    path
        An ONNX file.
    folder
        Folder for prepared models, created if it is missing. The default is ``$RUNOFF_CACHE``, else
        ``$XDG_CACHE_HOME/runoff``, else ``~/.cache/runoff``.

    Returns
    -------
    str
        Path of the prepared model, for `Session`.

    Raises
    ------
    RunoffOrtError
        `kind` is ``model-missing``, ``model-unreadable``, ``runtime-missing``, ``no-space``, ``internal`` if the folder
        cannot be written to, or ``bad-request`` if there is no default folder.

    Examples
    --------
    >>> prepared = runoff_ort.prepare("double.onnx", "prepared")
    >>> runoff_ort.Session(prepared, profile="cold").run({"x": x})["y"].shape
    (2, 3)
    """

def load_runtime() -> None:
    """Load ONNX Runtime's shared library if it is not loaded yet.

    Raises
    ------
    RunoffOrtError
        `kind` is ``runtime-missing`` if the library is missing, is not ONNX Runtime, or is too old.
    """

def create_environment() -> None:
    """Create ONNX Runtime's environment if it does not exist yet; loads the library first.

    Telemetry is off, whether or not ``ORT_DISABLE_TELEMETRY`` is set: nothing is recorded, and no network connection is
    opened.

    Raises
    ------
    RunoffOrtError
        `kind` is ``runtime-missing`` or ``runtime-failed``.
    """

make_environment = create_environment

def runtime_version() -> str:
    """Return the library's version, such as ``1.32.0``; loads the library first."""

def runtime_build() -> str:
    """Return the library's own description of its build; loads the library first."""

def unavailable_providers() -> dict[str, str]:
    """Return the reason why ``cuda`` or ``tensorrt`` is unavailable, by name; loads the library first.

    Providers that are available are not included.

    Raises
    ------
    RunoffOrtError
        `kind` is ``runtime-missing`` or ``runtime-failed``.

    Examples
    --------
    >>> "cpu" in runoff_ort.unavailable_providers()
    False
    """

lacking = unavailable_providers

def library_path() -> str:
    """Return the absolute path of the library; loads the library first."""

def providers() -> list[str]:
    """Return the names of the available providers, for use with `Session`; loads the library first.

    ``cpu`` is always available. With an NVIDIA GPU, ``cuda`` and ``tensorrt`` may be available; if not,
    `unavailable_providers` returns the reason. On a Mac, ``coreml``, ``coreml-cpu``, ``coreml-gpu`` and ``coreml-ne``
    may be available: Core ML on all compute units, on the CPU only, on CPU and GPU, or on CPU and Neural Engine.

    Raises
    ------
    RunoffOrtError
        `kind` is ``runtime-missing`` or ``runtime-failed``.

    Examples
    --------
    >>> "cpu" in runoff_ort.providers()
    True
    """

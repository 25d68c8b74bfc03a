"""ONNX models in Python through a Rust core.

>>> import numpy as np, runoff_ort
>>> session = runoff_ort.Session("double.onnx", threads=1)
>>> session.inputs
[TensorInfo(name='x', dtype='float32', shape=(None, 3))]
>>> session.run({"x": np.ones((1, 3), np.float32)})
{'y': array([[2., 2., 2.]], dtype=float32)}

ONNX Runtime's shared library is looked for in the environment variable ``RUNOFF_ORT_DYLIB`` (an absolute path), then in
the installed `onnxruntime` package, which is found without being imported. It is loaded, and its environment made, when
the first session is made; `load_runtime` and `create_environment` do so ahead of time.

Every failure of this module is a `RunoffOrtError`, but for arguments of a wrong type, which are a `TypeError`, and for
arrays that there is no memory for, which are a `MemoryError`. Most are one of Python's own exceptions as well: a
`MissingFileError` is a `FileNotFoundError`, an `InvalidValueError` a `ValueError`. The GIL is released while a model is
loaded or run and while images are decoded. Sub-interpreters cannot import this module.

``import runoff_ort.onnxruntime as ort`` has onnxruntime's own names, for code that is written for them.

Tensors
-------
Bool, int8 to int64, uint8 to uint64, float16, float32 and float64 are NumPy's own types. A bfloat16 is that of the
package `ml_dtypes`, which is imported when such a tensor comes out of a model. Strings go in as arrays of ``str``,
``object`` or ``numpy.dtypes.StringDType`` and come out as arrays of ``object``.

An input is an array, or anything on the CPU with ``__dlpack__`` (PyTorch, JAX, ...), or a number, a string or a list of
them, which becomes an array of the input's dtype and may lose precision, but no fraction and no digit. An array in C
order, aligned and in native byte order is read where it is; any other is copied once, and so are strings. Where all
inputs and outputs have fixed shapes of up to 4096 bytes, `Session.run` copies: that is quicker.

An output is a new array, writable, and stays valid after the session is gone. Large ones lie on ONNX Runtime's own
memory, which is not copied; those of up to 4096 bytes on NumPy's.

An array is looked at once, and what it was then is used, whatever other threads or values do to its dtype, shape or
strides. As long as it is in use, ``ndarray.resize`` raises an error, with ``refcheck=False`` too. Do not write to an
input while a model runs: ONNX Runtime reads the memory with the GIL released. What frees memory under every reader, as
``ndarray.__setstate__``, does so here.

Other values
------------
A sequence is a list, a map is a dict, an optional without a value is None. Values of a map come out as Python's own
numbers and strings. An empty list is accepted for a sequence of tensors only.
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
"""What decodes JPEG files, with its version, and ``SIMD`` or ``scalar``: how it was built."""
__version__: Final[str]
"""Version of this package."""

PROFILES: dict[str, dict[str, object]]
"""Settings that each profile decides, by the names of `Session`'s parameters. A copy: changing it changes no profile.

``default`` decides nothing; ``cold`` is best for one short process; ``latency`` is best for many calls.

>>> runoff_ort.PROFILES["cold"]["arena"]
False
"""

class RunoffOrtError(RuntimeError):
    """A failure with a hint.

    >>> try:
    ...     runoff_ort.Session("nowhere.onnx")
    ... except runoff_ort.RunoffOrtError as error:
    ...     print(error.kind, "|", error.message)
    model-missing | model not found: nowhere.onnx
    """

    kind: _Kind
    """Kind of failure: one of the runner protocol's, or ``timed-out`` or ``cancelled`` for a run that was ended."""
    message: str
    """What went wrong, and which file or argument is at fault."""
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
    """ONNX Runtime's library is missing, is not one, or is too old: ``runtime-missing``."""

class RunTimeoutError(RunoffOrtError, TimeoutError):
    """A run took longer than its timeout: ``timed-out``."""

@final
class TensorInfo:
    """An input or output of a model. Those with equal parts are equal."""

    @property
    def name(self) -> str:
        """Name in the graph."""

    @property
    def dtype(self) -> str:
        """NumPy's name of the element type, ``bfloat16`` or ``str``; of other values ONNX's words.

        Such words are ``seq(tensor(float))``, ``map(int64,tensor(float))`` and ``optional(tensor(float))``.
        """

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Sides; None is a dynamic one. Empty for scalars, for an unknown rank, and for what is not a tensor."""

    @property
    def dimensions(self) -> tuple[str | None, ...]:
        """Names of dynamic sides that have one, as ``batch``; None elsewhere. As long as `shape`."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Metadata:
    """What the model's maker wrote into it; texts are empty where nothing was. Those with equal parts are equal."""

    @property
    def producer(self) -> str:
        """Program that made the file."""

    @property
    def graph(self) -> str:
        """Name of the graph."""

    @property
    def domain(self) -> str:
        """Domain of the model, as in ``org.example``."""

    @property
    def description(self) -> str:
        """What the model is for."""

    @property
    def version(self) -> int:
        """The model's own version; 0 where none was written."""

    @property
    def custom(self) -> dict[str, str]:
        """Anything else, by key."""

    def __eq__(self, other: object, /) -> bool: ...

@type_check_only
class PreprocessSpec(TypedDict):
    """From pixels to tensor. This class exists for type checkers only: pass a plain dict.

    The shorter side is resized to `resize` (the longer one to ``resize * longer // shorter``), a square of `crop`
    pixels is cut from the middle, and every channel becomes ``(pixel - mean) / std``; `mean` and `std` are in pixel
    units (0 to 255).
    """

    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: Sequence[float]
    std: Sequence[float]

@final
class Session:
    """A model, loaded and ready. Any number of threads may call it at once.

    Parameters
    ----------
    path
        An ONNX file, or one that `prepare` made, which is memory-mapped and used in place: do not change that while a
        session lives. Weights in other files are read from the model's own folder only. Or the content of such a file,
        as bytes or another buffer; it is copied.
    profile
        Settings by name, see `PROFILES`. What is given by name below departs from it.
    threads
        Threads that compute one operation, 1 to 1024; None lets ONNX Runtime use all cores.
    inter_threads
        Threads that run independent operations side by side, 1 to 1024, with ``execution="parallel"``.
    optimization
        Graph optimisation level.
    spinning
        Whether waiting worker threads burn CPU to answer sooner.
    arena
        Whether the CPU memory arena is used.
    prepacking
        Whether weights are repacked for the CPU when the model is loaded.
    execution
        Order in which operations run.
    provider
        Execution provider, one of `providers`; another is an error that names what is missing. With any but ``cpu``,
        all of the model runs on it, or the session is not made. ``cuda`` and ``tensorrt`` use the first NVIDIA GPU;
        what TensorRT leaves is CUDA's. TF32 is off where ONNX Runtime decides; cuDNN and TensorRT compute float32
        without it when the environment variable ``NVIDIA_TF32_OVERRIDE=0`` is set before the first session. NVIDIA's
        libraries are looked for in its packages next to onnxruntime's, then where the system looks.
    precision
        Number format that the model computes in.
    batch
        Items per call, 1 to 2^31 - 1, for all providers but ``cpu``: what a dimension called ``batch`` is fixed at, so
        that no operation on shapes is left over for the CPU. On the CPU a session takes any number of items.
    force_spinning_stop
        Whether worker threads that spin stop when the last run under way ends, instead of spinning on for the next one:
        for a process that shares its cores and calls in bursts.
    config
        Entries of ONNX Runtime's session configuration, ``{"session.set_denormal_as_zero": "1"}``; one that it does not
        know it ignores. They come last, and overrule what is above.
    dimensions
        Sizes for dynamic dimensions, by their names: the graph is optimised for them.
    log_level
        How much ONNX Runtime prints to stderr for this session; by default nothing, or what ``ORT_LOG`` says.
    profiling
        Begin of the name of a file that gets the times of all operations: see `end_profiling`.
    providers
        Execution providers in order of preference, instead of `provider`: names, or pairs of a name and options with
        ONNX Runtime's names, as in ``[("cuda", {"device_id": 1, "gpu_mem_limit": 2**30}), "cpu"]``. Each provider
        computes the operations that it supports and that those before it left. If ``cpu`` is not the last of them, the
        whole model must run on the others, as with `provider`.
    custom_op_libraries
        Paths of shared libraries with custom operators that the model uses. Each exports ``RegisterCustomOps``.

    Raises
    ------
    TypeError
        When an argument is of a wrong type.
    RunoffOrtError
        `kind` is ``runtime-missing``, ``model-missing``, ``model-unreadable``, ``provider-unavailable``,
        ``bad-request`` or ``runtime-failed``.

    Notes
    -----
    A setting that is None has the profile's value, or else ONNX Runtime's default.

    Examples
    --------
    >>> session = runoff_ort.Session("double.onnx", profile="latency", threads=2, spinning=False)
    >>> [output.name for output in session.outputs]
    ['y']

    Next to an event loop:

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
        profile: Literal["default", "cold", "latency"] = "default",
        threads: int | None = 1,
        inter_threads: int | None = None,
        optimization: Literal["disable", "basic", "extended", "all"] | None = None,
        spinning: bool | None = None,
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
    ) -> Session: ...
    def __getnewargs_ex__(self) -> tuple[tuple[PathLike[str]], dict[str, Any]]:
        """Return the absolute path of the file and the settings, with which pickle makes a session elsewhere.

        Raises
        ------
        TypeError
            When the session was made of bytes.
        """

    @property
    def inputs(self) -> list[TensorInfo]:
        """Inputs that the model needs, in the order of the graph."""

    @property
    def overridable_initializers(self) -> list[TensorInfo]:
        """Initialisers that the model also lists as inputs: `run` accepts values for them, and needs none.

        >>> session.overridable_initializers
        []
        """

    @property
    def outputs(self) -> list[TensorInfo]:
        """Outputs, in the order of the graph."""

    @property
    def metadata(self) -> Metadata:
        """What the model's maker wrote into it."""

    @property
    def device(self) -> str | None:
        """The GPU that computes, as ``NVIDIA H100 80GB HBM3 (0), driver 580.65.06``; None for the CPU."""

    @property
    def threads(self) -> int | None:
        """Threads that compute, counted after the session was made; None where they are not counted, and on a GPU."""

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
            A value for each input, by name, of the dtype and shape that the model takes. An initialiser that the model
            lists among its inputs may be given too; an optional input may be left out or None.
        outputs
            Names of the outputs that are returned, at least one; ONNX Runtime computes the whole graph all the same.
            None means all.
        timeout
            Seconds after which the run is ended: not before the operation that is under way is done.
        options
            Options of the run, through which another thread can cancel it. Not together with `timeout`.

        Notes
        -----
        All arrays are in the host's memory. On a GPU, ONNX Runtime copies inputs there and outputs back in each call of
        `run` and of `run_into`, and in each run of a `Binding`; `on_device` keeps the memory there between calls.

        Returns
        -------
        dict
            A new value for each wanted output, by name: in the order of `outputs`, or that of the graph.

        Raises
        ------
        TypeError
            When a value is not an array of the input's dtype, or no list or dict where the model takes one.
        RunoffOrtError
            `kind` is ``model-mismatch`` when names, ranks or sides do not fit, ``bad-request`` when `outputs` is
            empty, ``runtime-failed`` when the model fails, ``timed-out`` or ``cancelled`` when the run was ended.

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
        """Run the model once, and write outputs into arrays that are there already.

        Parameters
        ----------
        feeds
            As in `run`.
        outputs
            An array for each output that is wanted, by name, at least one: writable, C-contiguous, aligned, in native
            byte order, of the output's dtype and shape. They share no memory with each other or with an input. Do not
            use them elsewhere while the model runs. Outputs of strings, lists and dicts cannot be written into, nor
            those that are an input passed on.
        timeout, options
            As in `run`. What a run that is ended has written is undefined.

        Raises
        ------
        TypeError
            As `run` does; when an array is not C-contiguous, aligned and in native byte order.
        RunoffOrtError
            As `run` does; `kind` is ``bad-request`` when an array is read-only or shares memory, ``model-mismatch``
            when it cannot be of the right shape, ``runtime-failed`` when only the run shows that it is not.

        Examples
        --------
        >>> y = np.empty((2, 3), np.float32)
        >>> session.run_into({"x": x}, {"y": y})
        >>> y[1]
        array([ 6.,  8., 10.], dtype=float32)
        """

    def bind(self, feeds: Mapping[str, _Array], outputs: Mapping[str, _Array] | None = None) -> Binding:
        """Bind inputs and outputs for repeated calls, which check and convert nothing.

        Parameters
        ----------
        feeds
            An array for each input, by name: C-contiguous, aligned, in native byte order, of the input's dtype and
            shape. Strings, lists and dicts cannot be bound.
        outputs
            Arrays for outputs as in `run_into`. Outputs that are not named are allocated at each run.

        Raises
        ------
        TypeError, RunoffOrtError
            As `run_into` does.
        """

    def on_device(self) -> DeviceBinding:
        """Make room for inputs and outputs in the memory of the session's device, for repeated calls.

        Raises
        ------
        RunoffOrtError
            `kind` is ``model-mismatch`` when an input or output is no tensor of numbers, ``runtime-failed`` when there
            is not enough memory.
        """

    def end_profiling(self) -> str:
        """End the profile that the session was made with, and return the path of its file, in Chrome's trace format.

        Runs that are under way meanwhile may be missing from it, and later ones are.

        Raises
        ------
        InvalidValueError
            When no profile is being written.
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
            How the image becomes the model's input, float32 of shape ``[1, 3, crop, crop]``.
        top
            How many classes are returned.

        Returns
        -------
        list
            Index and confidence (softmax over all classes of the first output), best first.

        Raises
        ------
        RunoffOrtError
            As `preprocess` and `run` do.
        """

    def classify_batch(
        self,
        image_paths: Sequence[_Path],
        preprocess: PreprocessSpec | Mapping[str, object],
        top: int = 5,
        batch: int | None = None,
    ) -> list[list[tuple[int, float]]]:
        """Classify images in files, some of them in one inference.

        Parameters
        ----------
        image_paths
            JPEG, PNG, WebP, BMP or TIFF files.
        preprocess
            How images become the model's input, float32 of shape ``[batch, 3, crop, crop]``.
        top
            How many classes are returned for each image.
        batch
            Images in one inference, 1 or more; None means all. Memory grows with it. A model whose input has a
            fixed first side gets that many, whatever `batch` is; its last batch is filled up with the last image.

        Returns
        -------
        list
            For each image what `classify` returns.

        Raises
        ------
        RunoffOrtError
            As `classify` does, for the first image that fails.
        """

@final
class RunOptions:
    """Options of one run or several, and a handle to end them.

    Parameters
    ----------
    config
        Entries of ONNX Runtime's run configuration; one that it does not know it ignores.
    log_level
        How much ONNX Runtime prints to stderr for these runs.
    tag
        Name of the runs in the log.

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
        cls, *, config: Mapping[str, str] | None = None, log_level: _LogLevel | None = None, tag: str | None = None
    ) -> RunOptions: ...
    def cancel(self) -> None:
        """End the runs with these options, in whatever threads, and let none begin until `reset`.

        A run ends when the operation that is under way is done.
        """

    def reset(self) -> None:
        """Let later runs with these options go to their end."""

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called, and `reset` not since."""

@final
class Binding:
    """Inputs and outputs bound to a session, for repeated calls. `Session.bind` makes one.

    The arrays are read and written in place at each run: change the elements of the inputs between runs. A binding runs
    one call at a time, and a second thread waits: make one for each thread.

    Examples
    --------
    >>> binding = session.bind({"x": x}, {"y": y})
    >>> x[:] = 1
    >>> binding.run()["y"] is y
    True
    >>> y[0]
    array([2., 2., 2.], dtype=float32)
    """

    def run(self) -> dict[str, _Value]:
        """Run the model once.

        Returns
        -------
        dict
            All outputs, by name, in the order of the graph: the bound arrays themselves, and new values for others.

        Raises
        ------
        RunoffOrtError
            `kind` is ``runtime-failed`` when the model fails.
        """

    @property
    def inputs(self) -> dict[str, _Array]:
        """The bound inputs, by name."""

    @property
    def outputs(self) -> dict[str, _Array]:
        """The bound outputs, by name."""

@final
class DeviceBinding:
    """Inputs and outputs in the memory of the session's device. `Session.on_device` makes one.

    Memory is allocated when it is made if the model's shapes are fixed, else by the first `copy_in`, and again only
    when shapes change; an output whose shape does not follow from those of the inputs is allocated in each `compute`.
    Each step returns when the device has done it, so steps can be timed apart. Steps of one binding wait for each
    other: make one for each thread. With the provider ``cpu`` the device is the host.

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
            An array for each input, by name, of the dtype and shape that the model takes. It may be changed afterwards.
            On a GPU, a C-contiguous tensor with ``__dlpack__`` that is already in the memory of GPU 0 is copied there,
            without a detour through the host's memory.

        Raises
        ------
        TypeError, RunoffOrtError
            As `Session.run` does.
        """

    def compute(self) -> None:
        """Run the model on what was copied in.

        Raises
        ------
        RunoffOrtError
            `kind` is ``runtime-failed`` when the model fails, or nothing was copied in.
        """

    def copy_out(self) -> dict[str, _Array]:
        """Copy the outputs that were computed last from the device.

        Returns
        -------
        dict
            A new array for each output, by name, in the order of the graph.

        Raises
        ------
        RunoffOrtError
            `kind` is ``runtime-failed`` when nothing was computed.
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
    paths: Sequence[_Path],
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
        JPEG, PNG, WebP, BMP or TIFF files. The orientation (EXIF) is applied, colour profiles are not; transparency
        is dropped. Of 16 bits per channel the upper 8 are used.
    resize, crop, interpolation, mean, std
        See `PreprocessSpec`. Sides are 1 to 16384 pixels.

    Returns
    -------
    numpy.ndarray
        float32 of shape ``[len(paths), 3, crop, crop]``, RGB. Before normalisation it is within 2 of 255 of what
        Pillow's `resize` with ``box`` gives: both decode with libjpeg-turbo, and only the resizers round apart.

    Raises
    ------
    RunoffOrtError
        `kind` is ``image-missing``, ``image-unreadable``, ``image-too-large`` or ``bad-request``.
    """

def prepare(path: _Path, folder: _Path | None = None) -> str:
    """Prepare a model for this machine: optimised, and saved in ONNX Runtime's own format, which loads fastest.

    The file is named after the model's SHA-256, ONNX Runtime's version and build, and the CPU: when one of them has
    changed another is made, and otherwise it is found again. Use it on this machine only.

    Parameters
    ----------
    path
        An ONNX file.
    folder
        Where prepared models are kept; made where it is missing. Default: ``$RUNOFF_CACHE``, else
        ``$XDG_CACHE_HOME/runoff``, else ``~/.cache/runoff``.

    Returns
    -------
    str
        Path of the prepared model, for `Session`.

    Raises
    ------
    RunoffOrtError
        `kind` is ``model-missing``, ``model-unreadable``, ``runtime-missing``, ``no-space``, ``internal`` when the
        folder cannot be written to, or ``bad-request`` when none is known.

    Examples
    --------
    >>> prepared = runoff_ort.prepare("double.onnx", "prepared")
    >>> runoff_ort.Session(prepared, profile="cold").run({"x": x})["y"].shape
    (2, 3)
    """

def load_runtime() -> None:
    """Load ONNX Runtime's shared library, unless that was done already.

    Raises
    ------
    RunoffOrtError
        `kind` is ``runtime-missing`` if it is missing, is not ONNX Runtime, or is too old.
    """

def create_environment() -> None:
    """Create ONNX Runtime's environment, unless that was done already; loads the library first.

    Telemetry is off, whether ``ORT_DISABLE_TELEMETRY`` is set or not: nothing is recorded, and no network opened.

    Raises
    ------
    RunoffOrtError
        `kind` is ``runtime-missing`` or ``runtime-failed``.
    """

make_environment = create_environment

def runtime_version() -> str:
    """Return the version of the loaded library, as in ``1.32.0``; loads it first."""

def runtime_build() -> str:
    """Return how the loaded library was built, in its own words; loads it first."""

def unavailable_providers() -> dict[str, str]:
    """Return the reasons why ``cuda`` and ``tensorrt`` are unavailable, by name; loads the library first.

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
    """Return the absolute path that the library was loaded from; loads it first."""

def providers() -> list[str]:
    """Return the providers that are available, by the names that `Session` takes; loads the library first.

    ``cpu`` always is. With an NVIDIA GPU, ``cuda`` and ``tensorrt`` may be; `unavailable_providers` returns why they
    are not. On a Mac ``coreml``, ``coreml-cpu``, ``coreml-gpu`` and ``coreml-ne`` may be: Core ML on all compute units,
    or on the CPU alone, with the GPU, with the Neural Engine.

    Raises
    ------
    RunoffOrtError
        `kind` is ``runtime-missing`` or ``runtime-failed``.

    Examples
    --------
    >>> "cpu" in runoff_ort.providers()
    True
    """

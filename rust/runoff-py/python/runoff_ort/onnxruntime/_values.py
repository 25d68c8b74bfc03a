"""Values in host memory, and descriptions of inputs and outputs, with onnxruntime's names."""

from __future__ import annotations

import ctypes
import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ._unsupported import unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    import runoff_ort

CPU = "cpu"
# ONNX's names and numbers of element types, by NumPy dtype name
ELEMENTS = {
    "float32": ("float", 1),
    "uint8": ("uint8", 2),
    "int8": ("int8", 3),
    "uint16": ("uint16", 4),
    "int16": ("int16", 5),
    "int32": ("int32", 6),
    "int64": ("int64", 7),
    "str": ("string", 8),
    "bool": ("bool", 9),
    "float16": ("float16", 10),
    "float64": ("double", 11),
    "uint32": ("uint32", 12),
    "uint64": ("uint64", 13),
    "complex64": ("complex64", 14),
    "complex128": ("complex128", 15),
    "bfloat16": ("bfloat16", 16),
}
NAMES = {number: name for name, (_, number) in ELEMENTS.items()}


@dataclass(frozen=True)
class NodeArg:
    """An input or output."""

    name: str
    type: str
    """ONNX type, such as ``tensor(float)``."""
    shape: list[int | str | None]
    """Dimensions; a dynamic one is given as its name, or None if it has no name."""

    @classmethod
    def of(cls, info: runoff_ort.TensorInfo) -> NodeArg:
        """Convert the extension's `TensorInfo`."""
        kind = f"tensor({ELEMENTS[info.dtype][0]})" if info.dtype in ELEMENTS else info.dtype
        sides = zip(info.shape, info.dimensions, strict=True)
        return cls(info.name, kind, [name if side is None else side for side, name in sides])


@dataclass(frozen=True)
class ModelMetadata:
    """Metadata stored in the model."""

    producer_name: str = ""
    graph_name: str = ""
    graph_description: str = ""
    domain: str = ""
    description: str = ""
    version: int = 0
    custom_metadata_map: dict[str, str] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        unsupported(f"ModelMetadata.{name}")


class _Capsule:
    """The tensor of a DLPack capsule, in the host's memory."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **_options: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


class OrtValue:
    """A value in host memory: an array, a list or a dict."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        unsupported(f"OrtValue.{name}")

    @classmethod
    def ortvalue_from_numpy(
        cls, numpy_obj: Any, /, device_type: str = CPU, device_id: int = 0, vendor_id: int = -1
    ) -> OrtValue:
        """Create a value from an array, without a copy if the array is C-contiguous."""
        only_host(device_type, device_id, vendor_id)
        return cls(np.ascontiguousarray(numpy_obj).reshape(np.shape(numpy_obj)))

    @classmethod
    def ortvalue_from_numpy_with_onnx_type(cls, data: Any, /, onnx_element_type: int) -> OrtValue:
        """Create a value over the memory of an array, whose bits are of another type of the same size."""
        dtype = numpy_dtype(onnx_element_type)
        if dtype.hasobject or data.dtype.itemsize != dtype.itemsize:
            message = f"elements of {data.dtype} are not of the size of {dtype}"
            raise ValueError(message)
        return cls(np.ascontiguousarray(data).reshape(data.shape).view(dtype))

    @classmethod
    def ortvalue_from_shape_and_type(
        cls,
        shape: Sequence[int],
        element_type: Any,
        device_type: str = CPU,
        device_id: int = 0,
        vendor_id: int = -1,
        memory_info: Any = None,
    ) -> OrtValue:
        """Create a value filled with zeros."""
        if memory_info is not None:
            unsupported("OrtValue.ortvalue_from_shape_and_type(memory_info=...)")
        only_host(device_type, device_id, vendor_id)
        dtype = numpy_dtype(element_type)
        if dtype.kind in "OUT":
            unsupported(f"OrtValue.ortvalue_from_shape_and_type of {dtype}")
        return cls(np.zeros(tuple(shape), dtype))

    @classmethod
    def from_dlpack(cls, data: Any, /) -> OrtValue:
        """Make a value over the memory of a tensor with ``__dlpack__``, or of a capsule that it made."""
        return cls(np.from_dlpack(data if hasattr(data, "__dlpack__") else _Capsule(data)))

    def numpy(self) -> Any:
        """Return the array."""
        return self._array("numpy")

    def update_inplace(self, data: Any) -> None:
        """Copy the elements of an array or a value, of the same shape and dtype, into the value."""
        given, array = data.numpy() if isinstance(data, OrtValue) else data, self._array("update_inplace")
        if not isinstance(given, np.ndarray):
            message = "data must be a numpy.ndarray or an OrtValue."
            raise TypeError(message)
        if given.shape != array.shape or given.dtype != array.dtype:
            message = f"the value is {array.dtype} of shape {array.shape}, not {given.dtype} of {given.shape}"
            raise ValueError(message)
        array[...] = given

    def shape(self) -> list[int]:
        """Return the dimensions."""
        return list(self._array("shape").shape)

    def data_type(self) -> str:
        """Return the ONNX type, such as ``tensor(float)``."""
        return f"tensor({self._element()[0]})"

    def element_type(self) -> int:
        """Return ONNX's number for the element type."""
        return self._element()[1]

    def data_ptr(self) -> int:
        """Return the address of the elements."""
        return int(self._array("data_ptr").ctypes.data)

    def tensor_size_in_bytes(self) -> int:
        """Return the size of all elements in bytes."""
        return int(self._array("tensor_size_in_bytes").nbytes)

    def device_name(self) -> str:
        """Return ``cpu``."""
        return CPU

    def has_value(self) -> bool:
        """Return whether an optional has a value."""
        return self._value is not None

    def is_tensor(self) -> bool:
        """Return whether this is a tensor."""
        return isinstance(self._value, np.ndarray)

    def is_sparse_tensor(self) -> bool:
        """Return False: sparse tensors are not supported."""
        return False

    def is_tensor_sequence(self) -> bool:
        """Return whether this is a list of tensors."""
        return isinstance(self._value, list) and all(isinstance(item, np.ndarray) for item in self._value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:  # noqa: FBT001 (NumPy's protocol)
        return np.array(self._array("numpy"), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        return self._array("__dlpack__").__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return tuple(self._array("__dlpack_device__").__dlpack_device__())

    def _array(self, what: str) -> Any:
        if not self.is_tensor():
            message = f"OrtValue.{what}: the value is {type(self._value).__name__}, not a tensor"
            raise RuntimeError(message)
        return self._value

    def _element(self) -> tuple[str, int]:
        dtype = self._array("data_type").dtype
        return ELEMENTS["str" if dtype.kind in "OUT" else dtype.name]


class IOBinding:
    """Inputs and outputs, bound for repeated runs."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs: dict[str, Any] = {}
        # the array to write into, or None for a new array in each run
        self._wanted: dict[str, Any] = {}
        self._bound: runoff_ort.Binding | None = None
        self._results: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        unsupported(f"IOBinding.{name}")

    def bind_cpu_input(self, name: str, arr_on_cpu: Any) -> None:
        """Bind an array, which each run reads. An array that is not C-contiguous is copied once, when it is bound."""
        self._bind_input(name, np.ascontiguousarray(arr_on_cpu).reshape(np.shape(arr_on_cpu)))

    def bind_input(
        self, name: str, device_type: str, device_id: int, element_type: Any, shape: Sequence[int], buffer_ptr: int
    ) -> None:
        """Bind host memory by its address. It must stay valid and hold as many elements as the shape."""
        only_host(device_type, device_id)
        self._bind_input(name, array_at(buffer_ptr, element_type, shape))

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """Bind an input to a value."""
        self._bind_input(name, ortvalue.numpy())

    def bind_output(
        self,
        name: str,
        device_type: str = CPU,
        device_id: int = 0,
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """Bind an output to host memory by its address, or to new memory in each run."""
        only_host(device_type, device_id)
        if buffer_ptr is None:
            self._bind_output(name, None)
        elif element_type is None or shape is None:
            message = "`element_type` and `shape` are to be provided if pre-allocated memory is provided"
            raise ValueError(message)
        else:
            self._bind_output(name, array_at(buffer_ptr, element_type, shape))

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """Bind an output to a value, which each run writes into."""
        self._bind_output(name, ortvalue.numpy())

    def synchronize_inputs(self) -> None:
        """Do nothing: all memory is host memory."""

    def synchronize_outputs(self) -> None:
        """Do nothing: all memory is host memory."""

    def clear_binding_inputs(self) -> None:
        """Unbind the inputs."""
        self._inputs, self._bound = {}, None

    def clear_binding_outputs(self) -> None:
        """Unbind the outputs."""
        self._wanted, self._bound, self._results = {}, None, {}

    def get_outputs(self) -> list[OrtValue]:
        """Return the outputs of the last run, in the order of binding; without a run, they have no value."""
        return [OrtValue(self._results.get(name)) for name in self._wanted]

    def copy_outputs_to_cpu(self) -> list[Any]:
        """Return copies of the outputs of the last run as arrays."""
        return [np.array(value.numpy()) for value in self.get_outputs()]

    def run(self, session: runoff_ort.Session, options: runoff_ort.RunOptions | None) -> None:
        """Run the model once."""
        if not self._wanted:
            message = "At least one output should be requested."
            raise ValueError(message)
        if self._bound is None:
            into = {name: array for name, array in self._wanted.items() if array is not None}
            self._bound = session.bind(self._inputs, into or None)
        self._results = self._bound.run(options=options)

    def _bind_input(self, name: str, array: Any) -> None:
        known(name, self._session.get_inputs() + self._session.get_overridable_initializers())
        self._inputs[name], self._bound = array, None

    def _bind_output(self, name: str, array: Any) -> None:
        known(name, self._session.get_outputs())
        self._wanted[name], self._bound = array, None


def only_host(device_type: str, device_id: int, vendor_id: int = -1) -> None:
    """Raise an error for any device other than the host."""
    if device_type != CPU or device_id != 0 or vendor_id != -1:
        unsupported(f"memory of {device_type}:{device_id}")


def known(name: str, nodes: Sequence[NodeArg]) -> None:
    """Raise an error for a name that is not one of the model's."""
    names = [node.name for node in nodes]
    if name not in names:
        message = f"{name!r} cannot be bound: the model has {', '.join(names)}"
        raise ValueError(message)


def tensor_of(value: object) -> Any:
    """Return the array of a value, which is a tensor."""
    if not isinstance(value, OrtValue):
        message = f"an OrtValue is needed, not {type(value)}"
        raise TypeError(message)
    return value.numpy()


def numpy_dtype(element_type: Any) -> Any:
    """Return the NumPy dtype for ONNX's element type number, or for a NumPy type."""
    if not isinstance(element_type, int):
        return np.dtype(element_type)
    if element_type not in NAMES:
        unsupported(f"element type {element_type}")
    name = NAMES[element_type]
    if name == "bfloat16":
        # registers the dtype
        importlib.import_module("ml_dtypes")
    return np.dtype(object if name == "str" else name)


def array_at(address: int, element_type: Any, shape: Sequence[int]) -> Any:
    """Return an array over the caller's memory."""
    dtype = numpy_dtype(element_type)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(tuple(shape))

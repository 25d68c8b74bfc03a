"""ONNX operators as operations of pywebnn's graph builder. Shapes are static; what depends on data is refused."""

from __future__ import annotations

import math

import numpy as np
from onnx import helper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from runoff_runners.interfaces import Array
    from runoff_runners.webnn_node import Node

    Operand: TypeAlias = Any  # webnn.MLOperand
    Converted: TypeAlias = Any  # an operand, a constant, or several operands

DTYPES = frozenset({"float32", "float16", "int8", "uint8", "int32", "uint32", "int64", "uint64"})
"""Dtypes of WebNN; there is no bool: comparisons give uint8."""
_IMAGE = 4
"""Rank of a batch of images."""
_STATIC_AXES = 13
"""Opset from which Softmax treats one axis only."""
_LARGEST = float(np.finfo(np.float32).max)
_DIRECT = {
    **dict.fromkeys(("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "Log", "Neg", "Reciprocal", "Relu"), 1),
    **dict.fromkeys(("Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh"), 1),
    **dict.fromkeys(("Add", "Div", "Equal", "Greater", "MatMul", "Mul", "Sub"), 2),
}
"""Operators without attributes that have the same name in WebNN, and their number of inputs."""
_RENAMED = {
    "And": ("logical_and", 2),
    "GlobalAveragePool": ("global_average_pool", 1),
    "GlobalMaxPool": ("global_max_pool", 1),
    "GreaterOrEqual": ("greater_or_equal", 2),
    "Less": ("lesser", 2),
    "LessOrEqual": ("lesser_or_equal", 2),
    "Not": ("logical_not", 1),
    "Or": ("logical_or", 2),
    "PRelu": ("prelu", 2),
    "Where": ("where_", 3),
    "Xor": ("logical_xor", 2),
}
_METHODS = {**{name: (name.lower(), count) for name, count in _DIRECT.items()}, **_RENAMED}
_REDUCTIONS = {
    "ReduceL1": "reduce_l1",
    "ReduceL2": "reduce_l2",
    "ReduceLogSum": "reduce_log_sum",
    "ReduceLogSumExp": "reduce_log_sum_exp",
    "ReduceMax": "reduce_max",
    "ReduceMean": "reduce_mean",
    "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_product",
    "ReduceSum": "reduce_sum",
    "ReduceSumSquare": "reduce_sum_square",
}
_PADDING = {"constant": "constant", "edge": "edge", "reflect": "reflection"}


def convert(node: Node) -> list[Operand | Array]:
    """Return the outputs of a node, added to the builder's graph.

    Raises
    ------
    RunnerError
        ``model-unsupported``.
    """
    if node.op in _METHODS:
        method, count = _METHODS[node.op]
        made = getattr(node.builder, method)(*(node.operand(place) for place in range(count)))
    elif node.op in _REDUCTIONS:
        made = _reduce(node)
    elif node.op in _OPERATORS:
        made = _OPERATORS[node.op](node)
    else:
        node.refuse("it is unknown to this conversion")
    made = made if isinstance(made, list) else [made]
    if node.outputs > len(made):
        node.refuse(f"it has {node.outputs} outputs")
    return made


def _batch_normalization(node: Node) -> Converted:
    if node.attribute("training_mode", 0):
        node.refuse("it is in training mode")
    x, scale, bias, mean, variance = (node.operand(place) for place in range(5))
    epsilon = node.attribute("epsilon", 1e-5)
    return node.builder.batch_normalization(x, mean, variance, scale=scale, bias=bias, epsilon=epsilon, axis=1)


def _cast(node: Node) -> Converted:
    dtype = helper.tensor_dtype_to_np_dtype(node.attribute("to")).name
    if dtype not in DTYPES:
        node.refuse(f"it casts to {dtype}")
    return node.builder.cast(node.operand(0), dtype)


def _clip(node: Node) -> Converted:
    low, high = node.constant(1, "min"), node.constant(2, "max")
    limits = (-_LARGEST if low is None else float(low), _LARGEST if high is None else float(high))
    return node.builder.clamp(node.operand(0), min_value=limits[0], max_value=limits[1])


def _concat(node: Node) -> Converted:
    axis = node.attribute("axis") % len(node.shape())
    return node.builder.concat([node.operand(place) for place in range(len(node.inputs))], axis)


def _conv(node: Node) -> Converted:
    window = _window(node, node.shape(1)[2:])
    groups, bias = node.attribute("group", 1), node.optional(2)
    return node.builder.conv2d(node.operand(0), node.operand(1), groups=groups, bias=bias, **window)


def _conv_transpose(node: Node) -> Converted:
    if node.attribute("auto_pad", "NOTSET") != "NOTSET" or node.attribute("output_shape"):
        node.refuse("it has auto_pad or output_shape")
    window = _window(node, node.shape(1)[2:])
    more = {"groups": node.attribute("group", 1), "bias": node.optional(2)}
    extra = node.attribute("output_padding", [0, 0])
    return node.builder.conv_transpose2d(node.operand(0), node.operand(1), output_padding=extra, **more, **window)


def _pool(node: Node, method: str) -> Converted:
    kernel = node.attribute("kernel_shape")
    window = _window(node, kernel)
    pads = window["pads"]
    if node.attribute("count_include_pad", 0) and any(pads):
        node.refuse("count_include_pad counts its padding")
    if node.attribute("ceil_mode", 0):
        sizes = zip(
            node.shape()[2:], pads[::2], pads[1::2], kernel, window["dilations"], window["strides"], strict=True
        )
        if any((size + low + high - (k - 1) * apart - 1) % step for size, low, high, k, apart, step in sizes):
            node.refuse("ceil_mode rounds its output up")
    return getattr(node.builder, method)(node.operand(0), window_dimensions=kernel, **window)


def _expand(node: Node) -> Converted:
    wanted = np.broadcast_shapes(tuple(node.shape()), tuple(node.numbers(1)))
    return node.builder.expand(node.operand(0), [*wanted])


def _flatten(node: Node) -> Converted:
    shape = node.shape()
    axis = node.attribute("axis", 1)
    axis += len(shape) if axis < 0 else 0
    return node.builder.reshape(node.operand(0), [math.prod(shape[:axis]), math.prod(shape[axis:])])


def _gather(node: Node) -> Converted:
    axis, indices = node.attribute("axis", 0) % len(node.shape()), node.inputs[1]
    if isinstance(indices, np.ndarray):
        # WebNN clamps negative indices
        indices = node.builder.constant(np.where(indices < 0, indices + node.shape()[axis], indices).astype(np.int64))
    return _take(node, node.operand(0), indices, axis)


def _take(node: Node, x: Operand, indices: Operand, axis: int) -> Operand:
    """Return the `indices` of `x` along an axis."""
    taken = node.builder.gather(x, indices, axis=axis)
    # pywebnn 0.5 converts what follows a gather as if it had one dimension less
    return node.builder.reshape(taken, taken.shape)


def _gelu(node: Node) -> Converted:
    if node.attribute("approximate", "none") != "none":
        node.refuse("it is approximated by tanh")
    return node.builder.gelu(node.operand(0))


def _gemm(node: Node) -> Converted:
    options = {
        "c": node.optional(2),
        "alpha": node.attribute("alpha", 1.0),
        "beta": node.attribute("beta", 1.0),
        "a_transpose": bool(node.attribute("transA", 0)),
        "b_transpose": bool(node.attribute("transB", 0)),
    }
    return node.builder.gemm(node.operand(0), node.operand(1), **options)


def _instance_normalization(node: Node) -> Converted:
    epsilon, (x, scale, bias) = node.attribute("epsilon", 1e-5), (node.operand(place) for place in range(3))
    return node.builder.instance_normalization(x, scale=scale, bias=bias, epsilon=epsilon)


def _layer_normalization(node: Node) -> Converted:
    rank, epsilon = len(node.shape()), node.attribute("epsilon", 1e-5)
    axes = [*range(node.attribute("axis", -1) % rank, rank)]
    more = {"scale": node.operand(1), "bias": node.optional(2), "epsilon": epsilon, "axes": axes}
    return node.builder.layer_normalization(node.operand(0), **more)


def _pad(node: Node) -> Converted:
    pads, mode = node.numbers(1, "pads"), node.attribute("mode", "constant")
    if mode not in _PADDING or node.has(3) or min(pads) < 0:
        node.refuse(f"mode {mode!r}, axes, or negative padding")
    value = node.constant(2, "value")
    filled = 0.0 if value is None or not value.size else float(value)
    return node.builder.pad(node.operand(0), pads, mode=_PADDING[mode], value=filled)


def _pow(node: Node) -> Converted:
    exponent, x = node.constant(1), node.operand(0)
    if exponent is None or exponent.size != 1 or float(exponent.item()) not in (0.5, 1, 2):
        node.refuse("its exponent is not 0.5, 1 or 2")
    power = float(exponent.item())
    return node.builder.sqrt(x) if power < 1 else node.builder.mul(x, x) if power > 1 else x


def _reduce(node: Node) -> Converted:
    axes = node.constant(1, "axes")
    rank = len(node.shape())
    if axes is None or not axes.size:
        if node.attribute("noop_with_empty_axes", 0):
            return node.inputs[0]
        axes = np.arange(rank)
    named = sorted(int(axis) % rank for axis in axes)
    return getattr(node.builder, _REDUCTIONS[node.op])(
        node.operand(0), axes=named, keep_dimensions=bool(node.attribute("keepdims", 1))
    )


def _arg(node: Node, method: str) -> Converted:
    if node.attribute("select_last_index", 0):
        node.refuse("it selects the last index")
    axis, kept = node.attribute("axis", 0) % len(node.shape()), bool(node.attribute("keepdims", 1))
    return getattr(node.builder, method)(node.operand(0), axis, keep_dimensions=kept)


def _reshape(node: Node) -> Converted:
    shape, wanted = node.shape(), node.numbers(1)
    if not node.attribute("allowzero", 0):
        wanted = [shape[place] if size == 0 else size for place, size in enumerate(wanted)]
    if -1 in wanted:
        known = math.prod(size for size in wanted if size != -1)
        wanted[wanted.index(-1)] = math.prod(shape) // max(known, 1)
    return node.builder.reshape(node.operand(0), wanted)


def _slice(node: Node) -> Converted:
    shape, starts, ends = node.shape(), node.numbers(1, "starts"), node.numbers(2, "ends")
    axes, steps = node.constant(3, "axes"), node.constant(4)
    places = range(len(starts)) if axes is None else [int(axis) % len(shape) for axis in axes]
    made, first, sizes = node.operand(0), [0] * len(shape), [*shape]
    for number, place in enumerate(places):
        step = 1 if steps is None else int(steps[number])
        taken = range(shape[place])[starts[number] : ends[number] : step]
        if step == 1:
            first[place], sizes[place] = taken.start, len(taken)
        else:
            # not the strides of `slice`, which pywebnn 0.5 leaves out of the shape
            made = _take(node, made, node.builder.constant(np.array(taken, np.int64)), place)
            sizes[place] = len(taken)
    return node.builder.slice(made, first, sizes)


def _softmax(node: Node) -> Converted:
    rank = len(node.shape())
    axis = node.attribute("axis", -1 if node.opset >= _STATIC_AXES else 1) % rank
    if node.opset < _STATIC_AXES and axis != rank - 1:
        node.refuse(f"in opset {node.opset} it runs over several axes")
    return node.builder.softmax(node.operand(0), axis)


def _split(node: Node) -> Converted:
    axis, sizes = node.attribute("axis", 0) % len(node.shape()), node.constant(1, "split")
    if sizes is None:
        whole = node.shape()[axis]
        part = -(-whole // node.outputs)
        sizes = np.array([min(part, whole - part * place) for place in range(node.outputs)])
    parts: list[Operand] = node.builder.split(node.operand(0), sizes.tolist(), axis=axis)
    return parts


def _squeeze(node: Node) -> Converted:
    shape, axes = node.shape(), node.constant(1, "axes")
    gone = [place for place, size in enumerate(shape) if size == 1] if axes is None else axes % len(shape)
    # not `squeeze`, which pywebnn 0.5 computes without its axes
    return node.builder.reshape(node.operand(0), [size for place, size in enumerate(shape) if place not in gone])


def _unsqueeze(node: Node) -> Converted:
    shape, axes = node.shape(), node.numbers(1, "axes")
    for axis in sorted(axis % (len(shape) + len(axes)) for axis in axes):
        shape.insert(axis, 1)
    return node.builder.reshape(node.operand(0), shape)


def _tile(node: Node) -> Converted:
    return node.builder.tile(node.operand(0), node.numbers(1))


def _transpose(node: Node) -> Converted:
    order = node.attribute("perm", [*reversed(range(len(node.shape())))])
    return node.builder.transpose(node.operand(0), permutation=[*order])


def _window(node: Node, kernel: Sequence[int]) -> dict[str, list[int]]:
    """Return strides, dilations and padding of a convolution or of a pooling, in WebNN's order."""
    image = node.shape()[2:]
    if len(node.shape()) != _IMAGE or len(kernel) != len(image):
        node.refuse(f"its input has the shape {node.shape()}, and WebNN has only 2-D windows")
    strides, apart = node.attribute("strides", [1, 1]), node.attribute("dilations", [1, 1])
    auto, (top, left, bottom, right) = node.attribute("auto_pad", "NOTSET"), node.attribute("pads", [0, 0, 0, 0])
    pads = [top, bottom, left, right]
    if auto.startswith("SAME"):
        pads = []
        for size, step, space, k in zip(image, strides, apart, kernel, strict=True):
            missing = max((-(-size // step) - 1) * step + (k - 1) * space + 1 - size, 0)
            halves = [missing // 2, missing - missing // 2]
            pads += halves if auto == "SAME_UPPER" else halves[::-1]
    return {"strides": [*strides], "dilations": [*apart], "pads": pads if auto != "VALID" else [0, 0, 0, 0]}


_OPERATORS: dict[str, Callable[[Node], Converted]] = {
    "ArgMax": lambda node: _arg(node, "arg_max"),
    "ArgMin": lambda node: _arg(node, "arg_min"),
    "AveragePool": lambda node: _pool(node, "average_pool2d"),
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Dropout": lambda node: node.inputs[0],
    "Elu": lambda node: node.builder.elu(node.operand(0), alpha=node.attribute("alpha", 1.0)),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "HardSigmoid": lambda node: node.builder.hard_sigmoid(
        node.operand(0), alpha=node.attribute("alpha", 0.2), beta=node.attribute("beta", 0.5)
    ),
    "HardSwish": lambda node: node.builder.hard_swish(node.operand(0)),
    "Identity": lambda node: node.inputs[0],
    "InstanceNormalization": _instance_normalization,
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": lambda node: node.builder.leaky_relu(node.operand(0), alpha=node.attribute("alpha", 0.01)),
    "MaxPool": lambda node: _pool(node, "max_pool2d"),
    "Pad": _pad,
    "Pow": _pow,
    "Reshape": _reshape,
    # shapes are static
    "Shape": lambda node: np.array(
        node.shape()[node.attribute("start", 0) : node.attribute("end", len(node.shape()))], np.int64
    ),
    "Size": lambda node: np.array(math.prod(node.shape()), np.int64),
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

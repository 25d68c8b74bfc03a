"""The model store: a folder of models, each a folder with a manifest. Reading it needs no runtime."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from runoff.models.zoo import ZOO, same_name
from runoff.plan.coreml_packages import COMPILED
from runoff.plan.own_suite import model_name
from runoff.records.errors import RunoffError, did_you_mean
from runoff.records.files import sha256_of, write_atomically
from runoff.records.manifest import (
    MANIFEST,
    Manifest,
    StoredFile,
    StoredTensor,
    Variant,
    base_format,
    read_manifest,
    variant_format,
    variant_precision,
)
from runoff.records.protocol import Item, ModelFile, TensorFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from runoff.records.protocol import Workload

PREPARED = "ort"
"""The format of ONNX Runtime's prepared files; Core ML's is `runoff.plan.coreml_packages.COMPILED`."""
_HASHED = ".hashed.json"
_DECODER = "lean"
"""The decoder of a promptable model unless its format is a version."""


class _Hashed(Struct, frozen=True):
    """A file's hash, and the size and modification time of the file at that moment."""

    bytes: int
    mtime_ns: int
    sha256: str


class PreparedFile(Struct, frozen=True, kw_only=True):
    """A file or folder that was prepared from one of the model's files on this machine, for this machine only."""

    format: str
    """``ort``, ``mlmodelc``, a target's own, or ``onnx``: an optimised ONNX file."""
    path: str
    """Absolute."""
    sha256: str
    key: dict[str, Any]
    """All that it depends on: ``model_sha256``, ``runtime`` ...; ``provider`` and ``precision`` if they matter."""

    @property
    def kind(self) -> str:
        """Provider, precision and batch that it was prepared for."""
        batch = f", batch {self.key['batch']}" if "batch" in self.key else ""
        return f"{self.key.get('provider')} in {self.key.get('precision')}{batch}"

    def fits(self, provider: str, precision: str, batch: int = 1) -> bool:
        """Return whether it was prepared for the provider, the precision and the batch, if it depends on them."""
        needed = {"provider": provider, "precision": precision, "batch": batch}
        return all(self.key.get(name, value) == value for name, value in needed.items())


class StoredModel(Struct, frozen=True):
    """A model in the store; its files exist with their recorded sizes."""

    folder: Path
    """Absolute."""
    manifest: Manifest
    prepared: dict[str, PreparedFile] = {}
    """By `prepared_key`. They are kept outside the store, which is the same on every machine."""

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of the formats that the model is stored in."""
        return (*self.manifest.files, *map(variant_format, self.manifest.variants), *self.manifest.packages)

    @property
    def checked(self) -> bool:
        """Whether outputs are compared: the model has references."""
        return any(example.references for example in self.manifest.examples)

    def variant(self, form: str) -> Variant | None:
        """Return the variant whose format is `form`; None if that is another kind of file."""
        return self.manifest.variants.get(variant_precision(form))

    def computing(self, form: str) -> StoredModel:
        """Return the model with the references and the tolerance of its file in the format `form`."""
        variant = self.variant(form)
        if variant is None or not variant.references:
            return self
        pairs = zip(self.manifest.examples, variant.references, strict=True)
        examples = tuple(msgspec.structs.replace(example, references=outputs) for example, outputs in pairs)
        manifest = msgspec.structs.replace(self.manifest, examples=examples, tolerance=variant.tolerance)
        return msgspec.structs.replace(self, manifest=manifest)

    def model_file(self, form: str, made_from: str = "") -> ModelFile:
        """Return the model in the format `form` for a request; the prepared file if one is `made_from` that format.

        Raises
        ------
        RunoffError
            If the model is not stored in that format.
        """
        manifest = self.manifest
        prepared = self.prepared.get(prepared_key(form, made_from)) if made_from else None
        if prepared and prepared.format == form:
            return self._file(form, prepared.path, prepared.sha256, self._decoder(made_from), builder=made_from == "pt")
        variant = self.variant(form)
        stored = variant.file if variant else manifest.files.get(form) or manifest.packages.get(form)
        if stored is None:
            raise RunoffError(
                f"model {manifest.name!r} is not stored in the format {form!r}",
                did_you_mean(form, self.formats),
            )
        return self._file(
            form, str(self.folder / stored.path), stored.sha256, self._decoder(form), builder=form == "pt"
        )

    def _file(self, form: str, path: str, sha256: str, decoder: ModelFile | None, *, builder: bool) -> ModelFile:
        manifest = self.manifest
        return ModelFile(
            name=manifest.name,
            path=path,
            format=base_format(form),
            sha256=sha256,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            builder=manifest.builder if builder else None,
            builder_folder=manifest.builder_folder if builder else None,
            decoder=decoder,
        )

    def _decoder(self, form: str) -> ModelFile | None:
        """Return the decoder that belongs to an encoder in the format `form`; None if there is none."""
        found = self.manifest.decoders.get(form.partition("@")[2] or _DECODER)
        if found is None or base_format(form) != "onnx":
            return None
        return ModelFile(
            name=self.manifest.name,
            path=str(self.folder / found.file.path),
            format="onnx",
            sha256=found.file.sha256,
            inputs=found.inputs,
            outputs=found.outputs,
        )

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the model's files, by format."""
        manifest = self.manifest
        hashes = {name: file.sha256 for name, file in manifest.files.items()}
        hashes |= {variant_format(name): variant.file.sha256 for name, variant in manifest.variants.items()}
        hashes |= {f"decoder-{name}": decoder.file.sha256 for name, decoder in manifest.decoders.items()}
        return hashes | {name: package.sha256 for name, package in manifest.packages.items()}

    def provenance(self, not_prepared: str | None) -> dict[str, object]:
        """Return the model's entry in ``run.json``; `not_prepared` says which targets lack a prepared file."""
        manifest = self.manifest
        entry: dict[str, object] = {
            "source": manifest.source,
            "weights": manifest.weights,
            "sha256": self.hashes,
            "made_with": manifest.made_with,
        }
        if manifest.labels and any(example.label is not None for example in manifest.examples):
            entry["classes"] = (self.folder / manifest.labels.path).read_text(encoding="utf-8").splitlines()
        if manifest.training:
            entry["training"] = manifest.training
        if manifest.graph and manifest.graph.not_read:
            entry["not_read"] = manifest.graph.not_read
        if manifest.variants:
            entry["variants"] = {
                name: {"bytes": variant.file.bytes, "loss": msgspec.to_builtins(variant.loss), "facts": variant.facts}
                for name, variant in manifest.variants.items()
            }
        if self.prepared:
            entry["prepared"] = {key: {"sha256": file.sha256, "key": file.key} for key, file in self.prepared.items()}
        if not_prepared:
            entry["not_prepared"] = not_prepared
        return entry

    def items(self, workload: Workload) -> tuple[Item, ...]:
        """Return the examples as inputs of `workload`: the photos, with their prompts; or the tensors made of them."""
        examples = self.manifest.examples
        if workload == "tensor":
            return tuple(Item(tensors=self._tensor_files(example.inputs)) for example in examples)
        return tuple(
            Item(image=str(self.folder / example.image.path), prompts=example.prompts)
            for example in examples
            if example.image
        )

    def inputs(self, index: int) -> dict[str, TensorFile]:
        """Return the input tensors of example `index`, by name."""
        return self._tensor_files(self.manifest.examples[index].inputs)

    def references(self, index: int) -> dict[str, TensorFile]:
        """Return the outputs that a target must compute from example `index`, by name."""
        return self._tensor_files(self.manifest.examples[index].references)

    def thumbnail(self, index: int) -> TensorFile:
        """Return the picture for reports of example `index`, which has one: uint8 [height, width, 3]."""
        stored = self.manifest.examples[index].thumbnail
        if stored is None:
            raise LookupError(f"example {index} has no thumbnail")
        return self._tensor_files({"": stored})[""]

    def _tensor_files(self, stored: Mapping[str, StoredTensor]) -> dict[str, TensorFile]:
        return {
            name: TensorFile(str(self.folder / tensor.path), tensor.dtype, tensor.shape)
            for name, tensor in stored.items()
        }

    def check_sizes(self) -> None:
        """Check that every file exists and has its recorded size.

        Raises
        ------
        RunoffError
            If a file is missing, not readable or has another size; the message names the first one.
        """
        for stored in _files(self.manifest):
            path = self.folder / stored.path
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                raise self._corrupted(f"{path} is missing") from None
            except OSError as error:
                raise RunoffError(
                    f"{path} cannot be read: {error.strerror}", "runoff needs read permission on the store"
                ) from error
            if size != stored.bytes:
                raise self._corrupted(f"{path} has {size} bytes; it was stored with {stored.bytes}")

    def verify(self) -> None:
        """Check the SHA-256 of every file.

        A file with the size and modification time of an earlier check is not read again.

        Raises
        ------
        RunoffError
            If a file is missing, has another size, or was changed; the message names the first one.
        """
        self.check_sizes()
        note, before = self.folder / _HASHED, dict[str, _Hashed]()
        # If the note is missing or invalid, the hashes are computed again.
        with contextlib.suppress(OSError, msgspec.DecodeError):
            before = msgspec.json.decode(note.read_bytes(), type=dict[str, _Hashed])
        hashed = {}
        for stored in _files(self.manifest):
            hashed[stored.path] = _hash(self.folder / stored.path, before.get(stored.path))
            if hashed[stored.path].sha256 != stored.sha256:
                raise self._corrupted(f"{self.folder / stored.path} was changed after it was stored")
        if hashed != before:
            # A read-only store is supported.
            with contextlib.suppress(RunoffError):
                write_atomically(note, msgspec.json.encode(hashed))

    def _corrupted(self, message: str) -> RunoffError:
        return RunoffError(message, f"export the model again: runoff export --force {self.manifest.name}")


def prepared_key(form: str, made_from: str) -> str:
    """Return the name of a prepared file among those of a model.

    That is its source format for the usual kind, as in older runs, else ``FORMAT of SOURCE``.
    """
    return made_from if form in (PREPARED, COMPILED) else f"{form} of {made_from}"


def prepared_in(entry: Mapping[str, Any], form: str, made_from: str) -> dict[str, Any] | None:
    """Return ``sha256`` and ``key`` of a run's file in the format `form`, prepared from the format `made_from`.

    `entry` is the model's entry in ``run.json``; in older runs it has one prepared file, of ONNX Runtime.
    """
    prepared: dict[str, Any] = entry.get("prepared") or {}
    return prepared if "sha256" in prepared else prepared.get(prepared_key(form, made_from))


class ModelStore:
    """The models in `folder`, which may not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def names(self) -> tuple[str, ...]:
        """Return the names of the models in the store, sorted."""
        # The folder of an export in progress has ".tmp-" in its name.
        folders = [path.parent.name for path in self.folder.glob(f"*/{MANIFEST}")]
        return tuple(sorted(name for name in folders if ".tmp-" not in name))

    def check_new(self, name: str, *, force: bool) -> None:
        """Check that a user's model can be stored as `name`; with `force`, it may replace another one of theirs.

        Raises
        ------
        RunoffError
            If it cannot.
        """
        if same_name(name) in {same_name(model.name) for model in ZOO}:
            raise RunoffError(f"--name {name}: a model of the zoo has this name", "choose another name")
        if name != model_name(f"{name}.onnx"):
            raise RunoffError(f"--name {name}: not a name for files", f"for example: --name {model_name(name)}")
        if name in self.names() and not force:
            raise RunoffError(f"the store already has a model {name!r}", "replace it with --force, or choose --name")

    def get(self, name: str) -> StoredModel:
        """Return the model called `name`, written with ``-`` or ``_``, with its files' sizes checked.

        Raises
        ------
        RunoffError
            If the store has no such model, or one of its files is missing or has another size.
        """
        known = {same_name(stored): stored for stored in (*(model.name for model in ZOO), *self.names())}
        if same_name(name) not in known:
            raise RunoffError(f"unknown model {name!r}", did_you_mean(name, known.values()))
        folder = self.folder / known[same_name(name)]
        model = StoredModel(folder, read_manifest(folder))
        model.check_sizes()
        return model


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target`, replacing an older one, if the block succeeds."""
    temporary = target.with_name(f"{target.name}.tmp-{os.getpid()}")
    temporary.mkdir(parents=True)
    old = target.with_name(f"{temporary.name}.old")
    try:
        yield temporary
        if target.exists():
            target.rename(old)
        temporary.rename(target)
    finally:
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _files(manifest: Manifest) -> Iterator[StoredFile]:
    yield from manifest.files.values()
    for package in manifest.packages.values():
        yield from package.parts
    for variant in manifest.variants.values():
        yield variant.file
        yield from (tensor for outputs in variant.references for tensor in outputs.values())
    yield from manifest.data
    yield from (decoder.file for decoder in manifest.decoders.values())
    if manifest.labels:
        yield manifest.labels
    for example in manifest.examples:
        yield from filter(None, (example.image, example.masks, example.thumbnail))
        yield from example.inputs.values()
        yield from example.references.values()


def _hash(path: Path, before: _Hashed | None) -> _Hashed:
    status = path.stat()
    if before and (before.bytes, before.mtime_ns) == (status.st_size, status.st_mtime_ns):
        return before
    return _Hashed(status.st_size, status.st_mtime_ns, sha256_of(path))

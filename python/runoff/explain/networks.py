"""The model in PyTorch, and the parts of it that `runoff.models.cut_torch` made, for the sides that run networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runoff.models.cuts import WEIGHTS, builder_of
from runoff.records.errors import RunoffError
from runoff.records.files import sha256_of
from runoff.records.manifest import StoredFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.models.store import StoredModel
    from runoff.records.protocol import ModelFile
    from runoff.sides import Side


def networks_of(stored: StoredModel, sides: Sequence[Side], *, python: str | None) -> tuple[ModelFile, ...]:
    """Return the model's files in PyTorch that the sides read; `python` is the user's interpreter, if one was chosen.

    Raises
    ------
    RunoffError
        If the model has no such file, or its network is not one of runoff's environments.
    """
    readers = {side.network: side for side in sides if side.network}
    for form, side in readers.items():
        if python:
            message = f"{side.text}: --python and segments cannot be combined"
            raise RunoffError(message, "explain the whole process instead: --metric cold")
        if form not in stored.formats:
            wanted = "a factory (module:function)" if form == WEIGHTS else "a program of torch.export (FILE.pt2)"
            raise RunoffError(
                f"{side.text}: {stored.manifest.name} has no {form} file, only {', '.join(stored.formats)}",
                f"explain {wanted}, or a model of the zoo",
            )
    return tuple(stored.model_file(form) for form in sorted(readers))


def parts_in_torch(networks: Sequence[ModelFile], folder: Path, names: Sequence[str]) -> dict[str, list[ModelFile]]:
    """Return the files in PyTorch of the models `names`, which were cut into `folder`."""

    def part(name: str, network: ModelFile) -> ModelFile:
        path = folder / f"{name}.{network.format}"
        code = (builder_of(name), str(folder)) if network.format == WEIGHTS else (None, None)
        return replace(network, path=str(path), sha256=sha256_of(path), builder=code[0], builder_folder=code[1])

    return {name: [part(name, network) for network in networks] for name in names}


def with_networks(model: StoredModel, networks: Sequence[ModelFile]) -> StoredModel:
    """Return `model` with files in PyTorch, used where they are."""
    files = {one.format: StoredFile(one.path, one.sha256, Path(one.path).stat().st_size) for one in networks}
    manifest = replace(model.manifest, files={**model.manifest.files, **files})
    for one in networks:
        if one.builder:
            manifest = replace(manifest, builder=one.builder, builder_folder=one.builder_folder)
    return replace(model, manifest=manifest)

"""CoreML packages of a model: kinds, the settings each serves, and how they were verified. Needs no coremltools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from runoff.records.manifest import Manifest
    from runoff.records.protocol import Settings

COMPILED = "mlmodelc"
"""The format of a package that was compiled on the Mac that runs it; never in the store."""
LARGEST_BATCH = 32
"""Of flexible packages."""


class PackageKind(Struct, frozen=True):
    """A package as it is stored."""

    name: str
    """Of the format."""
    precision: Literal["fp32", "fp16"]
    """Of the arithmetic; inputs and outputs are float32 in both."""
    flexible: bool
    """Whether the batch may be 1 to `LARGEST_BATCH`; else it is 1."""

    @property
    def folder(self) -> str:
        """Name of the package in the model's folder."""
        return f"model{self.name.removeprefix('mlpackage')}.mlpackage"

    @property
    def tolerance(self) -> float:
        """Largest permitted difference from PyTorch, relative to PyTorch's largest absolute output."""
        return 1e-5 if self.precision == "fp32" else 1e-2


PACKAGES = (
    PackageKind("mlpackage", "fp32", flexible=False),
    PackageKind("mlpackage-fp16", "fp16", flexible=False),
    PackageKind("mlpackage-flexible", "fp32", flexible=True),
    PackageKind("mlpackage-fp16-flexible", "fp16", flexible=True),
)


def serves(format_name: str, settings: Settings) -> bool:
    """Return whether a file of this format can be used with the settings; other formats than packages always can."""
    kind = next((kind for kind in PACKAGES if kind.name == format_name), None)
    if kind is None:
        return True
    return kind.precision == settings.precision and settings.batch <= (LARGEST_BATCH if kind.flexible else 1)


def verified(manifest: Manifest, format_name: str) -> str | None:
    """Return a description of how a package was verified; None if the model has no such package."""
    differences = [check.max_rel_diff for check in manifest.checks if check.format == format_name]
    if format_name not in manifest.packages or not differences:
        return None
    return (
        f"package verified on {manifest.made_with.get('system', 'another system')} by the evaluator "
        f"(largest difference {max(differences):.1e} of the largest logit)"
    )

"""Segmentations: the parts of an iteration, masks, and pictures of them, one path next to the other."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runoff.report.text import figure_or_reason, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runoff.analysis.analyse import Analysis

PARTS = {"encode": "encoder", "decode": "decoder", "postprocess": "post-processing"}
COUNTS = {"masks_raw": "masks", "masks_kept": "masks kept"}
DIFFERENCES = {"mask_iou": "smallest overlap", "score_diff": "score difference"}
HEAD = ("case", *PARTS.values(), *COUNTS.values(), *DIFFERENCES.values())
NOTE = """\
Medians of warm iterations, or without any, of the first, in parts that add up to the inference: the encoder, once a
picture (and a crop); the decoder, for all prompts; and the rest: upscaling, filters, encoding of masks. Masks before
and after the filters; of those kept, the smallest intersection over union with segment_anything's masks, in the same
order, and the difference of the first one's score. Weights called fitted segment flat shapes; they say nothing about
the quality of published ones."""
_PREFIX = "data:image/png;base64,"


class Overlay(Struct, frozen=True):
    """A picture with the masks of a case."""

    name: str
    """Part of a file name."""
    group: str
    """Model and settings: pictures of one group are beside each other."""
    text: str
    """Target and number of masks."""
    url: str
    """A PNG file, as a ``data:`` URL."""

    @property
    def data(self) -> bytes:
        """The PNG file."""
        return base64.b64decode(self.url.removeprefix(_PREFIX))


def rows(analysis: Analysis) -> Iterator[list[str]]:
    """Yield the rows of the table under `HEAD`: one for each case that segments."""
    lines: dict[tuple[str, str], dict[Any, Any]] = {}
    for line in analysis.summary.to_dict("records"):
        if line["workload"] == "segment" and line["probe"] in ("latency", "life", "accuracy") and line["n"]:
            lines.setdefault((line["case"], line["metric"]), line)
    for case in dict.fromkeys(case for case, _ in lines):
        parts = [figure_or_reason(lines.get((case, f"{part}.warm")) or lines.get((case, part))) for part in PARTS]
        counts = [f"{lines[case, name]['estimate']:.0f}" if (case, name) in lines else "" for name in COUNTS]
        yield [case, *parts, *counts, *(figure_or_reason(lines.get((case, name))) for name in DIFFERENCES)]


def overlays(analysis: Analysis) -> list[Overlay]:
    """Return the pictures of the cases, those of one group next to each other, in the order of the suite."""
    found: dict[str, dict[str, Any]] = {}
    for record in analysis.run.records:
        rows = [row for row in record.parity if str(row.get("overlay", "")).startswith(_PREFIX)]
        found |= {record.case: rows[-1]} if rows else {}
    groups: dict[str, list[Overlay]] = {}
    for case in analysis.run.info.cases:
        if case.id in found and case.control_of is None:
            row, group = found[case.id], f"{case.model}, {', '.join((case.settings.profile, *case.variant[3:]))}"
            text = f"{case.target}, {plural(row['masks_kept'], 'mask')}"
            name = re.sub(r"[^A-Za-z0-9._-]", "_", f"masks-{case.id}")
            groups.setdefault(group, []).append(Overlay(name, group, text, row["overlay"]))
    return [overlay for group in groups.values() for overlay in group]

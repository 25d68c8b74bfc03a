"""Charts over a continuous axis: distributions of warm inferences, and sweeps over the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd

from runoff.report.frame import DASHES, family_dash, legend, logarithmic, of_block, per_profile, target_colour, title

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runoff.report.frame import Frame
    from runoff.report.overview import Block, Row

SHARES = np.concatenate([np.linspace(0, 0.99, 100), np.linspace(0.991, 1, 10)])
"""Shares at which distributions are drawn: a curve has this many points, whatever the number of samples."""
_HEIGHT = 200


def warm(samples: pd.DataFrame, block: Block, frame: Frame) -> Any:  # noqa: ANN401 - Altair's charts share no type
    """Return cumulative distributions of the warm inferences, from the smallest to the largest; None for no data."""
    measured = samples["phase"] == "warm"
    rows = of_block(samples[measured & (samples["probe"] == "latency") & (samples["metric"] == "inference")], block)
    if rows.empty:
        return None
    curves = pd.concat(
        pd.DataFrame(
            {"target": target, "profile": profile, "share": SHARES, "ms": np.quantile(part["value"], SHARES) / 1e6}
        )
        for (profile, target), part in rows.groupby(["profile", "target"], sort=False)
    )
    # a browser's clock counts 0 for an inference that is shorter than its steps, which a logarithmic axis cannot show
    curves = curves[curves["ms"] > 0]
    if curves.empty:
        return None
    domain = [float(curves["ms"].min()) / 1.05, float(curves["ms"].max()) * 1.05]
    x = logarithmic(alt.X, "ms:Q", domain, "milliseconds", frame)
    colour, dash = target_colour(curves, frame), family_dash(curves, frame)
    if dash:
        colour = colour.legend(legend(frame, symbolType="stroke"))

    def panel(part: pd.DataFrame, words: str) -> Any:  # noqa: ANN401
        lines = alt.Chart(part).mark_line(strokeWidth=2)
        y = alt.Y("share:Q", title="share of inferences", axis=alt.Axis(format="%", tickCount=5))
        lines = lines.encode(x=x, y=y, order="share:Q", color=colour, **dash)
        return lines.properties(width=_width(frame), height=_HEIGHT, title=title(words))

    return per_profile(curves, frame, panel)


def _width(frame: Frame) -> int:
    """Return the width of a panel without names on its axis, which can be wider."""
    return frame.panel + 40


def sweep(blocks: Sequence[Block], frame: Frame) -> Any:  # noqa: ANN401
    """Return time per item, items per second and peak memory over the batch; None below two batch sizes.

    `blocks` differ only in their batch.
    """
    points = pd.DataFrame(
        {"target": row.target, "profile": row.profile, "batch": block.batch, "quantity": quantity, "value": value}
        for block in blocks
        for row in block.rows
        if row.control_of is None
        for quantity, value in _over_batch(row, block.batch)
    )
    if points.empty:
        return None
    batches_of = points.groupby("profile", sort=False)["batch"]
    points = points[batches_of.transform("nunique") > 1]
    if points.empty:
        return None
    colour = target_colour(points, frame).legend(legend(frame, symbolType="stroke"))
    dash = family_dash(points, frame) or _dashes(list(dict.fromkeys(points["target"])), frame)
    batches = sorted(int(batch) for batch in points["batch"].unique())
    x = alt.X("batch:Q", title="batch (log scale)", axis=alt.Axis(values=batches, format="d"))
    x = x.scale(type="log", base=2, domain=[batches[0] / 1.15, batches[-1] * 1.15], nice=False)

    def panel(part: pd.DataFrame, quantity: str, words: str) -> Any:  # noqa: ANN401
        lines = alt.Chart(part).mark_line(point=alt.OverlayMarkDef(size=50), strokeWidth=2)
        top = float(points[points["quantity"] == quantity]["value"].max()) * 1.05
        y = alt.Y("value:Q", title=quantity, scale=alt.Scale(domain=[0, top], nice=False))
        lines = lines.encode(x=x, y=y, color=colour, **dash)
        return lines.properties(width=_width(frame), height=_HEIGHT, title=title(words))

    profiles = points.groupby("profile", sort=False)
    rows = [
        [panel(of, str(quantity), f"profile {profile}") for quantity, of in part.groupby("quantity", sort=False)]
        for profile, part in profiles
    ]
    return frame.joined([one for row in rows for one in row])


def _dashes(targets: list[str], frame: Frame) -> dict[str, Any]:
    """Return the encoding that gives each of `targets` a dash."""
    scale = alt.Scale(domain=targets, range=[DASHES[place % len(DASHES)] for place in range(len(targets))])
    return {"strokeDash": alt.StrokeDash("target:N", scale=scale, legend=legend(frame, symbolType="stroke"))}


def _over_batch(row: Row, batch: int) -> Iterator[tuple[str, float]]:
    """Yield the quantities of a case that are plotted over the batch."""
    if row.warm.value is not None:
        yield "milliseconds per item", row.warm.value / 1e6 / batch
        yield "items per second", batch * 1e9 / row.warm.value
    if row.peak.value is not None:
        yield "peak memory, megabytes", row.peak.value / 1e6

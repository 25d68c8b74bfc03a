"""Random-effects meta-analysis of ratios that were measured on several machines.

The method is that of DerSimonian and Laird (1986) with the interval of Knapp and Hartung (2003), never narrower than
the usual one (Röver, Knapp and Friede 2015), and the prediction interval of Higgins, Thompson and Spiegelhalter (2009).
"""

from __future__ import annotations

from math import exp, log, nan
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from scipy import stats

from runoff.statistics import CONFIDENCE, Ratio, interval_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

_FEWEST_FOR_PREDICTION = 3


class Pooled(Struct, frozen=True, kw_only=True):
    """The ratio over several machines, and how much it differs between them."""

    ratio: Ratio
    """The ratio of a typical machine; `n` is the number of machines."""
    spread: float
    """Standard deviation of the true log ratios between machines, tau: 0.1 is about 10%."""
    share: float
    """Share of the variance that is not chance, I²: 0 to 1."""
    p_alike: float
    """P-value of "all machines have the same ratio" (Cochran's Q)."""
    low: float = nan
    """95% prediction interval: the ratio on one more machine of this population; NaN for two machines."""
    high: float = nan


def log_error(low: float, high: float, n: int) -> float:
    """Return the standard error of a log ratio from its 95% interval, which is that of `runoff.statistics.paired`.

    `n` is the number of its units, at least two.
    """
    return log(high / low) / 2 / interval_quantile(n)


def pool(logs: Sequence[float], errors: Sequence[float]) -> Pooled:
    """Return the ratio over machines.

    Parameters
    ----------
    logs
        The log ratio on each machine, at least two.
    errors
        Their standard errors, above 0.
    """
    y, v = np.asarray(logs, dtype=np.float64), np.square(np.asarray(errors, dtype=np.float64))
    k = len(y)
    w = 1 / v
    q = float((w * (y - (w * y).sum() / w.sum()) ** 2).sum())
    tau2 = max(0.0, (q - (k - 1)) / float(w.sum() - (w**2).sum() / w.sum()))
    w = 1 / (v + tau2)
    centre = float((w * y).sum() / w.sum())
    inflation = max(1.0, float((w * (y - centre) ** 2).sum()) / (k - 1))
    error = float(np.sqrt(inflation / w.sum()))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, k - 1)) * error
    p = float(2 * stats.t.sf(abs(centre) / error, k - 1))
    found = Pooled(
        ratio=Ratio(exp(centre), exp(centre - reach), exp(centre + reach), k, p),
        spread=float(np.sqrt(tau2)),
        share=max(0.0, (q - (k - 1)) / q) if q else 0.0,
        p_alike=float(stats.chi2.sf(q, k - 1)),
    )
    if k < _FEWEST_FOR_PREDICTION:
        return found
    far = float(stats.t.ppf((1 + CONFIDENCE) / 2, k - 2)) * float(np.sqrt(tau2 + error**2))
    return replace(found, low=exp(centre - far), high=exp(centre + far))

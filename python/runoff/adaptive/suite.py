"""The suite of one target and one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff import paths
from runoff.models.store import ModelStore
from runoff.plan.own_suite import is_model, own_suite, toml_table
from runoff.probes.latency import LatencyOptions

if TYPE_CHECKING:
    from runoff.plan.own_suite import OwnOptions


SHORT_SETS = LatencyOptions(min_samples=20, min_time_s=0, warmup_time_s=1.0, huge_pages=True)
"""Processes differ by their memory layout: many short sets are more precise than a few long ones, and huge pages reduce
the differences."""


def suite_text(model: str, options: OwnOptions) -> str:
    """Return the text of a suite of ``options.targets`` and a model: of the zoo or the store by its name, or a file.

    Raises
    ------
    RunoffError
        If an option cannot be read.
    """
    if is_model(model):
        return own_suite(model, options)
    store = ModelStore(paths.models())
    images = model not in store.names() or store.get(model).manifest.preprocess is not None
    matrix = {"name": model, "models": [model], "targets": [options.targets], "probes": ["process"]}
    matrix["workloads"] = ["classify" if images else "tensor"]
    threads = int(options.threads) if options.threads.isdecimal() else options.threads
    tables = [toml_table("[suite]", matrix), *([toml_table("[settings]", {"threads": threads})] if threads else [])]
    return "\n".join(tables)

"""Hostile calls of the extension: ``python attacks.py NAME FOLDER``, each in a process that it must not end.

An attack ends with a traceback if something else happens than it expects: a plain exception, or the right output. The
models are those of `test_attacks`. Not defended, as by every extension that computes without the GIL: memory that
`ndarray.__setstate__` frees, that another program truncates, or that an array was made over with a wrong length.
"""

from __future__ import annotations

import faulthandler
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import attacks_on_arrays as arrays
import attacks_on_calls as calls

if TYPE_CHECKING:
    from collections.abc import Callable

WATCHDOG_S = 100
ATTACKS: tuple[Callable[[Path], None], ...] = (
    arrays.a_later_feed_changes,
    arrays.a_later_feed_resizes,
    arrays.another_thread_resizes,
    arrays.a_bound_array_is_resized,
    arrays.an_initializer_is_freed,
    arrays.feeds_change_while_they_are_read,
    arrays.a_map_changes_while_it_is_read,
    arrays.mappings_lie,
    arrays.arrays_of_every_kind,
    arrays.subclasses_lie,
    arrays.what_passes_for_a_tensor_lies,
    arrays.lists_nest,
    arrays.buffers_are_freed,
    arrays.outputs_overlap,
    calls.numbers_are_out_of_range,
    calls.sequences_lie,
    calls.models_are_no_models,
    calls.a_model_in_memory_is_freed,
    calls.settings_are_nonsense,
    calls.failures_are_not_repeated,
    calls.a_promise_is_broken,
    calls.threads_change_everything,
    calls.bindings_are_shared,
    calls.the_environment_is_read,
)

if __name__ == "__main__":
    faulthandler.enable()
    faulthandler.dump_traceback_later(WATCHDOG_S, exit=True)
    warnings.simplefilter("ignore")
    {attack.__name__: attack for attack in ATTACKS}[sys.argv[1]](Path(sys.argv[2]))

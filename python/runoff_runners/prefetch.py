"""Preparing the first batch of images in a thread while the runtime starts and the model loads."""

from __future__ import annotations

# importing threading would add a millisecond to the process, and no other import of the runners needs it
from _thread import allocate_lock, start_new_thread
from time import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runoff_runners.interfaces import Images


class Prefetch:
    """A batch that a thread is preparing.

    Import all modules that the thread needs before: importing NumPy in two threads concurrently breaks it.

    Parameters
    ----------
    images
        Reads and preprocesses image files.
    sources
        What `images` takes for the batch.
    """

    def __init__(self, images: Images, sources: list[Any]) -> None:
        self._images = images
        self._sources = sources
        self._error: BaseException | None = None
        self._made, self._taken = allocate_lock(), allocate_lock()
        self._made.acquire()
        self._taken.acquire()
        start_new_thread(self._make, ())

    def take(self) -> tuple[Any, int]:
        """Wait for the batch; return it, and the time to prepare it in nanoseconds.

        Raises
        ------
        BaseException
            The exception raised in the thread, if any.
        """
        self._made.acquire()
        self._taken.release()
        if self._error is not None:
            raise self._error
        return self._batch, self._took_ns

    def _make(self) -> None:
        began = monotonic_ns()
        try:
            self._batch = self._images(self._sources)
        except BaseException as error:  # noqa: BLE001 (raised again by `take`)
            self._error = error
        self._took_ns = monotonic_ns() - began
        self._made.release()
        # keep the thread alive until then: a session's threads are counted as the difference before and after loading
        self._taken.acquire()

"""The first batch of images, made in a thread while the runtime starts and the model loads."""

from __future__ import annotations

# threading would add a millisecond to the process; nothing else that the runners import needs it
from _thread import allocate_lock, start_new_thread
from time import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runoff_runners.interfaces import Images


class Prefetch:
    """A batch that is being made.

    Everything that the thread will need has to be imported before: two threads that import NumPy at a time break it.

    Parameters
    ----------
    images
        Reads and preprocesses image files.
    paths
        The batch.
    """

    def __init__(self, images: Images, paths: list[str]) -> None:
        self._images = images
        self._paths = paths
        self._error: BaseException | None = None
        self._made, self._taken = allocate_lock(), allocate_lock()
        self._made.acquire()
        self._taken.acquire()
        start_new_thread(self._make, ())

    def take(self) -> tuple[NDArray[np.float32], int]:
        """Wait for the batch; return it, and how long making it took in nanoseconds.

        Raises
        ------
        BaseException
            What was raised while it was made.
        """
        self._made.acquire()
        self._taken.release()
        if self._error is not None:
            raise self._error
        return self._batch, self._took_ns

    def _make(self) -> None:
        began = monotonic_ns()
        try:
            self._batch = self._images(self._paths)
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits)
            self._error = error
        self._took_ns = monotonic_ns() - began
        self._made.release()
        # the thread stays until then: a session's threads are counted by how many there are before and after it
        self._taken.acquire()

"""A runner with an injected fault: ``injected.py FAULT [SHARE] --request FILE --result FILE``, or ``--probe``.

It is the runner of `ort-python` with one thing changed, and runs in that target's environment. Faults of the answer are
there in the measure ``turns`` only: it is right while it is examined, and wrong while it is timed.
"""
# The clock is read before anything is imported:
# ruff: noqa: E402

from time import monotonic_ns

BEGAN_NS = monotonic_ns()

import os
import random
import signal
import sys

from runoff_runners.program import main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff_runners.interfaces import Array, Feed, Fields, Marks, Request, Session, Target

ABSENT = "cuda"
"""The provider that the runners of fall-back claim to have, or do not."""
_HOUR_NS = 3_600_000_000_000
_WRONG_EVERY = 101
"""A prime, so that turns of no length step past the wrong ones."""
_CRASH_AT = 40
"""Inferences: the live process is past its warm-up on demand, and in a turn."""


class Unmodified:
    """The session as it is; each fault changes one of its methods."""

    timed_only = True

    def __init__(self, session: "Session", share: float) -> None:
        self._session = session
        self._share = share
        self._count = 0

    def run(self, feed: "Feed") -> "Feed":
        """Run the model once."""
        began = monotonic_ns()
        outputs = self._session.run(feed)
        # the unmodified one comes this way too, so that nothing but the share differs
        done = monotonic_ns()
        until = done + int(self._share * (done - began))
        while monotonic_ns() < until:
            pass
        self._count += 1
        return self.answer(outputs)

    def answer(self, outputs: "Feed") -> "Feed":
        """Return what is said in place of `outputs`."""
        return outputs

    def effective(self) -> "Fields":
        """Return what is in effect."""
        return self._session.effective()


class Wrong(Unmodified):
    """One answer in about a hundred is another class, from a random one on."""

    def __init__(self, session: "Session", share: float) -> None:
        super().__init__(session, share)
        self._count = random.randrange(_WRONG_EVERY)  # noqa: S311 (nothing to keep secret)

    def answer(self, outputs: "Feed") -> "Feed":
        """Swap the best logit with the worst, now and then."""
        return (
            {name: _swapped(tensor) for name, tensor in outputs.items()} if not self._count % _WRONG_EVERY else outputs
        )


class Cached(Unmodified):
    """Answers the first answer for ever; it computes, so that it takes the time."""

    _first: "Feed | None" = None

    def answer(self, outputs: "Feed") -> "Feed":
        """Return what the first inference gave."""
        self._first = self._first or outputs
        return self._first


class Late(Unmodified):
    """Answers the question before."""

    _before: "Feed | None" = None

    def answer(self, outputs: "Feed") -> "Feed":
        """Return what the inference before gave."""
        late, self._before = self._before or outputs, outputs
        return late


class Crash(Unmodified):
    """Ends by a signal."""

    def answer(self, outputs: "Feed") -> "Feed":
        """Die when it is time."""
        if self._count == _CRASH_AT:
            os.kill(os.getpid(), signal.SIGSEGV)
        return outputs


class Threads(Unmodified):
    """Says that it has one thread."""

    timed_only = False

    def effective(self) -> "Fields":
        """Return what is in effect, but for the threads."""
        return {**self._session.effective(), "threads": 1}


SESSIONS = {"wrong": Wrong, "cached": Cached, "late": Late, "crash": Crash, "threads": Threads}
CLOCKS: "dict[str, Callable[[], int]]" = {
    "clock": lambda: BEGAN_NS + (monotonic_ns() - BEGAN_NS) // 2,
    "clock-fast": lambda: BEGAN_NS + (monotonic_ns() - BEGAN_NS) * 97 // 100,
    "clock-phases": lambda: monotonic_ns() + _HOUR_NS,
}
FAULTS = ("none", "slow", "fallback", "fallback-claimed", *SESSIONS, *CLOCKS)


class Injected:
    """The target `ort-python` with a fault; a `runoff_runners.interfaces.Target`."""

    def __init__(self, fault: str, share: float) -> None:
        from runoff_runners import target_ort_python

        self._unmodified: Target = target_ort_python
        self._fault = fault
        self._share = share
        self.FORMATS = self._unmodified.FORMATS
        self.MEASURES = self._unmodified.MEASURES
        self.SETTINGS = self._unmodified.SETTINGS
        if fault in CLOCKS:
            _set_clock(CLOCKS[fault])

    def capabilities(self) -> "Fields":
        """Return what ONNX Runtime can do here, and one provider more where that is the fault."""
        can = self._unmodified.capabilities()
        return {**can, "providers": [*can["providers"], ABSENT]} if self._fault == "fallback-claimed" else can

    def perform(self, request: "Request", phases: "Marks") -> "Fields":
        """Do what the request asks, with the fault."""
        settings = request["settings"]
        if self._fault.startswith("fallback"):
            settings = {**settings, "provider": "cpu"}
        if self._fault == "threads":
            settings = {**settings, "threads": 2 * settings["threads"]}
        kind = SESSIONS.get(self._fault, Unmodified)
        if kind.timed_only and request["measure"]["kind"] != "turns":
            kind = Unmodified
        _wrap_sessions(self._unmodified, lambda session: kind(session, self._share))
        return self._unmodified.perform({**request, "settings": settings}, phases)


def _wrap_sessions(target: "Target", wrap: "Callable[[Session], Session]") -> None:
    """Let the loops of `target` run on sessions that went through `wrap`."""
    loops = target.measure  # type: ignore[attr-defined]
    target.measure = lambda request, session, *rest: loops(request, wrap(session), *rest)  # type: ignore[attr-defined]


def _set_clock(clock: "Callable[[], int]") -> None:
    """Replace the clock of every module of the runner."""
    for name, module in sys.modules.items():
        if name.startswith("runoff_runners.") and hasattr(module, "monotonic_ns"):
            module.monotonic_ns = clock  # type: ignore[attr-defined]


def _swapped(tensor: "Array") -> "Array":
    changed = tensor.copy()
    flat = changed.reshape(-1)
    best, worst = flat.argmax(), flat.argmin()
    flat[best], flat[worst] = flat[worst], flat[best]
    return changed


def _take_fault() -> "tuple[str, float]":
    """Take the fault and its share from the arguments; what is left is the protocol's."""
    words = []
    while len(sys.argv) > 1 and not sys.argv[1].startswith("--"):
        words.append(sys.argv.pop(1))
    fault, share = (words + ["none", "0"][len(words) :])[:2]
    if fault not in FAULTS:
        sys.exit(f"injected.py: unknown fault {fault!r} (known: {', '.join(FAULTS)})")
    return fault, float(share)


if __name__ == "__main__":
    FAULT, SHARE = _take_fault()
    sys.exit(main("injected", lambda: Injected(FAULT, SHARE), BEGAN_NS))

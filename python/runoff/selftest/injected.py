"""A runner with an injected fault: ``injected.py FAULT [SHARE] --request FILE --result FILE``, or ``--probe``.

It is the runner of `ort-python` with one change, and runs in that target's environment. Faults of the output occur in
the measures ``turns`` and ``load`` only: the runner is right while it is verified, and wrong while it is timed.
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

UNAVAILABLE = "cuda"
"""A provider that the runner does not have: the fallback faults compute on the CPU, and one declares it."""
_HOUR_NS = 3_600_000_000_000
_WRONG_EVERY = 101
"""A prime: no length of turns skips the wrong outputs."""
_CRASH_AT = 40
"""Inferences before the crash: the live process is then past its warm-up, in a turn."""


class Unmodified:
    """The session without a fault; each fault overrides one method."""

    timed_only = True

    def __init__(self, session: "Session", share: float) -> None:
        self._session = session
        self._share = share
        self._count = 0

    def run(self, feed: "Feed") -> "Feed":
        """Run the model once."""
        began = monotonic_ns()
        outputs = self._session.run(feed)
        # the unmodified runner takes this path too, so only the share differs
        done = monotonic_ns()
        until = done + int(self._share * (done - began))
        while monotonic_ns() < until:
            pass
        self._count += 1
        return self.answer(outputs)

    def answer(self, outputs: "Feed") -> "Feed":
        """Return the outputs to report in place of `outputs`."""
        return outputs

    def effective(self) -> "Fields":
        """Return the settings in effect."""
        return self._session.effective()


class Wrong(Unmodified):
    """One output in about a hundred has another top class; the first of them is random."""

    def __init__(self, session: "Session", share: float) -> None:
        super().__init__(session, share)
        self._count = random.randrange(_WRONG_EVERY)  # noqa: S311 (nothing to keep secret)

    def answer(self, outputs: "Feed") -> "Feed":
        """Swap the largest logit with the smallest, once in `_WRONG_EVERY` inferences."""
        return (
            {name: _swapped(tensor) for name, tensor in outputs.items()} if not self._count % _WRONG_EVERY else outputs
        )


class Cached(Unmodified):
    """Always returns the first output; it still computes, so it takes the same time."""

    _first: "Feed | None" = None

    def answer(self, outputs: "Feed") -> "Feed":
        """Return the outputs of the first inference."""
        self._first = self._first or outputs
        return self._first


class Late(Unmodified):
    """Returns the outputs of the previous inference."""

    _before: "Feed | None" = None

    def answer(self, outputs: "Feed") -> "Feed":
        """Return the outputs of the previous inference."""
        late, self._before = self._before or outputs, outputs
        return late


class Deferred(Unmodified):
    """Computes when the outputs are read, so that the inference itself takes next to nothing."""

    def run(self, feed: "Feed") -> "Feed":
        """Return outputs that are computed later."""
        return _Later(lambda: self._session.run(feed))


class _Later(dict):  # type: ignore[type-arg]
    """Outputs by name, computed whenever they are read."""

    def __init__(self, compute: "Callable[[], Feed]") -> None:
        super().__init__()
        self.items = lambda: compute().items()  # type: ignore[method-assign]
        self.values = lambda: compute().values()  # type: ignore[method-assign]


class Crash(Unmodified):
    """Dies by a signal."""

    def answer(self, outputs: "Feed") -> "Feed":
        """Die at inference `_CRASH_AT`."""
        if self._count == _CRASH_AT:
            os.kill(os.getpid(), signal.SIGSEGV)
        return outputs


class Threads(Unmodified):
    """Reports one thread, and uses more."""

    timed_only = False

    def effective(self) -> "Fields":
        """Return the settings in effect, except for the threads."""
        return {**self._session.effective(), "threads": 1}


SESSIONS = {"wrong": Wrong, "cached": Cached, "late": Late, "deferred": Deferred, "crash": Crash, "threads": Threads}
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
        """Return ONNX Runtime's capabilities, with an extra provider if that is the fault."""
        can = self._unmodified.capabilities()
        return {**can, "providers": [*can["providers"], UNAVAILABLE]} if self._fault == "fallback-claimed" else can

    def perform(self, request: "Request", phases: "Marks") -> "Fields":
        """Execute the request, with the fault."""
        settings = request["settings"]
        if self._fault.startswith("fallback"):
            settings = {**settings, "provider": "cpu"}
        if self._fault == "threads":
            settings = {**settings, "threads": 2 * settings["threads"]}
        kind = SESSIONS.get(self._fault, Unmodified)
        if kind.timed_only and request["measure"]["kind"] not in ("turns", "load"):
            kind = Unmodified
        _wrap_sessions(self._unmodified, lambda session: kind(session, self._share))
        return self._unmodified.perform({**request, "settings": settings}, phases)


def _wrap_sessions(target: "Target", wrap: "Callable[[Session], Session]") -> None:
    """Let the loops of `target` run on wrapped sessions."""
    usual = target.carry_out  # type: ignore[attr-defined]

    def carry_out(request: "Request", phases: "Marks", open_session: "Callable[[], Session]") -> "Fields":
        fields: Fields = usual(request, phases, lambda: wrap(open_session()))
        return fields

    target.carry_out = carry_out  # type: ignore[attr-defined]


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
    """Remove the fault and its share from the arguments and return them; the rest are the protocol's."""
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

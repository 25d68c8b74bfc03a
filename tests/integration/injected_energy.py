"""A powercap tree with the energy a test injects: idle power, and joules per process and per inference."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runoff.measure.energy import meters, powercap
from runoff.measure.energy.powercap import Powercap, Zone
from runoff.measure.live_process import LiveProcess
from runoff.processes import Spawner

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import pytest

RANGE_UJ = 20_000_000_000
"""The counter wraps to zero after 20,000 J."""
BEFORE_WRAP_J = 5.0


class InjectedEnergy:
    """Counters in the kernel's files, updated right before runoff reads them.

    Parameters
    ----------
    root
        The tree.
    idle_w
        Power of the idle machine.
    """

    def __init__(self, root: Path, idle_w: float) -> None:
        self._began_ns = time.monotonic_ns()
        self._idle_w = idle_w
        self._injected_j = 0.0
        self._files = {name: self._zone(root, place, name) for place, name in (("0", "package-0"), ("0:0", "core"))}
        self.wrapped = False
        self._removed = False

    def _zone(self, root: Path, place: str, name: str) -> Path:
        folder = root / f"intel-rapl:{place}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        (folder / "energy_uj").write_text("0\n")
        return folder / "energy_uj"

    def add(self, joules: float) -> None:
        """Inject `joules` now."""
        self._injected_j += joules

    def remove(self) -> None:
        """Remove the package's counter."""
        self._removed = True
        self._files["package-0"].unlink(missing_ok=True)

    def update(self) -> None:
        """Write the package's counter with its current value; the counter of the cores is dead."""
        if self._removed:
            return
        spent_j = self._idle_w * (time.monotonic_ns() - self._began_ns) / 1e9 + self._injected_j
        counted_uj = RANGE_UJ + round((spent_j - BEFORE_WRAP_J) * 1e6)
        self.wrapped = self.wrapped or counted_uj >= RANGE_UJ
        self._files["package-0"].write_text(f"{counted_uj % RANGE_UJ}\n")


def inject(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, idle_w: float, process_j: float, inference_j: float
) -> InjectedEnergy:
    """Let runoff find a tree that counts `process_j` for each process and `inference_j` for each inference."""
    injected = InjectedEnergy(root, idle_w)
    count, run, turn = Powercap._count, Spawner.run, LiveProcess.turn

    def counted(self: Powercap, zone: Zone) -> int:
        injected.update()
        return count(self, zone)

    def ran(self: Spawner, *arguments: Any, **more: Any) -> Any:
        finished = run(self, *arguments, **more)
        injected.add(process_j)
        return finished

    def turned(self: LiveProcess, firsts: list[int]) -> None:
        turn(self, firsts)
        injected.add(inference_j * len(firsts))

    # this counter moves without work
    monkeypatch.setattr(meters, "_WORK_S", 0.2)
    monkeypatch.setattr(powercap, "ROOT", root)
    monkeypatch.setattr(Powercap, "_count", counted)
    monkeypatch.setattr(Spawner, "run", ran)
    monkeypatch.setattr(LiveProcess, "turn", turned)
    return injected

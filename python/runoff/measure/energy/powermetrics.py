"""macOS's ``powermetrics``: processor, graphics and neural engine of Apple silicon, for root only.

It prints a property list for each interval, with NUL bytes between them: ``elapsed_ns``, and in ``processor`` the
millijoules ``cpu_energy``, ``gpu_energy`` and ``ane_energy`` of that interval.
"""

from __future__ import annotations

import os
import platform
import plistlib
import re
from math import nan
from typing import TYPE_CHECKING
from xml.parsers.expat import ExpatError

from msgspec import Struct

from runoff.measure.energy.meter import MeterError, Reading
from runoff.measure.energy.stream import INTERVAL_S, Stream
from runoff.processes import describe_exit
from runoff.records.reason import Reason
from runoff.records.schema import MeterInfo

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.processes import Spawner

NAME = "powermetrics"
PROGRAM = "/usr/bin/powermetrics"
GRANT = f'echo "$USER ALL=(root) NOPASSWD: {PROGRAM}" | sudo tee /etc/sudoers.d/powermetrics'
KEYS = {"cpu_energy": "cpu", "gpu_energy": "gpu", "ane_energy": "neural-engine"}
"""powermetrics' key to the domain."""
SCOPES = {
    "cpu": "processor cores",
    "gpu": "device",
    "neural-engine": "device",
    "soc": "all of the chip that is counted",
}
WHOLE = "soc"
"""The sum of the others."""
RESOLUTION_J = 0.001
_END = re.compile(rb"</plist>")
_TRIAL_S = 30.0
_MOST_SAMPLES = 36_000
"""It ends by itself after an hour: sudo runs it as root, and then runoff cannot end it."""


class Sample(Struct, frozen=True):
    """What powermetrics printed at the end of an interval."""

    elapsed_ns: int
    joules: dict[str, float]
    """By domain, within the interval; a domain that it does not print is left out."""


def find_powermetrics(spawner: Spawner) -> Powermetrics | Reason:
    """Return powermetrics as a source, or the reason why it is none. It is tried once."""
    if platform.system() != "Darwin":
        return Reason("needs-macos", "needs macOS")
    command = program(os.geteuid())
    try:
        finished = spawner.run((*command, "-n", "1"), dict(os.environ), _TRIAL_S)
    except OSError as error:
        return Reason("tool-missing", f"{command[0]} cannot be started: {error.strerror}")
    if finished.exit_code:
        return Reason("permission", f"{' '.join(command[:3])} {describe_exit(finished)}", f"run: {GRANT}")
    samples = read_samples(finished.stdout.encode())
    if not samples or not samples[0].joules:
        return Reason("no-counter", f"powermetrics prints none of {', '.join(KEYS)} here")
    return Powermetrics(command, tuple(samples[0].joules))


def program(user: int) -> tuple[str, ...]:
    """Return the command of a stream for the user with the id `user`: root needs no sudo."""
    samplers = "cpu_power,gpu_power,ane_power"
    command = (PROGRAM, "--samplers", samplers, "-i", f"{INTERVAL_S * 1e3:.0f}", "-f", "plist", "-b", "0")
    return command if user == 0 else ("/usr/bin/sudo", "-n", *command)


def read_samples(text: bytes) -> list[Sample]:
    """Return the samples of a stream; NUL bytes anywhere between them, and a last one that is cut, are passed over."""
    *whole, _rest = text.replace(b"\0", b"").split(b"</plist>")
    return [_sample(block + b"</plist>") for block in whole]


def _sample(block: bytes) -> Sample:
    try:
        told = plistlib.loads(block.lstrip(), fmt=plistlib.FMT_XML)
        elapsed_ns = int(told["elapsed_ns"])
        processor = told.get("processor", {})
        joules = {domain: float(processor[key]) / 1e3 for key, domain in KEYS.items() if key in processor}
    except (ExpatError, plistlib.InvalidFileException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MeterError(Reason("stream", f"powermetrics wrote a block that cannot be read: {error!r}")) from error
    return Sample(elapsed_ns, joules)


class Powermetrics:
    """powermetrics, which prints what each tenth of a second took.

    Parameters
    ----------
    command
        The program and its arguments.
    domains
        Those that it prints here.
    """

    waits = True
    may_rest = frozenset({"gpu", "neural-engine"})

    def __init__(self, command: tuple[str, ...], domains: tuple[str, ...]) -> None:
        self.needs = {WHOLE: "cpu"}
        self._command = command
        self._stream: Stream | None = None
        self._joules: dict[str, float] = {}
        self._elapsed_ns = 0
        self.info = MeterInfo(
            name=NAME,
            source="macOS's powermetrics, which runs as root",
            domains={domain: SCOPES[domain] for domain in (*domains, WHOLE)},
            resolution_j=RESOLUTION_J,
            step_s=INTERVAL_S,
            lacks={domain: "powermetrics does not print it here" for domain in KEYS.values() if domain not in domains},
        )

    def open(self, spawner: Spawner, scratch: Path) -> None:
        """Start powermetrics."""
        self._joules = {domain: 0.0 for domain in self.info.domains if domain != WHOLE}
        self._elapsed_ns = 0
        command = (*self._command, "-n", str(_MOST_SAMPLES))
        self._stream = Stream(spawner, command, scratch / "powermetrics.plist", _END)

    def read(self) -> Reading:
        """Wait for the end of an interval; return the joules by domain up to it.

        Raises
        ------
        MeterError
            When powermetrics has ended, or wrote what cannot be read.
        """
        if self._stream is None:
            raise ValueError("open comes before read")
        for sample in read_samples(self._stream.next()):
            self._elapsed_ns += sample.elapsed_ns
            for domain in self._joules:
                self._joules[domain] += sample.joules.get(domain, nan)
        return Reading(self._elapsed_ns, {**self._joules, WHOLE: sum(self._joules.values())})

    def close(self) -> None:
        """End powermetrics."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

"""macOS's ``powermetrics``: processor, graphics and neural engine of Apple silicon, for root only.

It prints a property list for each interval, separated by NUL bytes: ``elapsed_ns``, and in ``processor`` the
millijoules ``cpu_energy``, ``gpu_energy`` and ``ane_energy`` of that interval.
"""

from __future__ import annotations

import os
import platform
import plistlib
import re
from typing import TYPE_CHECKING
from xml.parsers.expat import ExpatError

from runoff.measure.energy.meter import APPLE_MAY_REST, MeterError, apple_info
from runoff.measure.energy.stream import INTERVAL_S, Interval, StreamMeter
from runoff.processes import describe_exit
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runoff.processes import Spawner

NAME = "powermetrics"
PROGRAM = "/usr/bin/powermetrics"
GRANT = f'echo "$USER ALL=(root) NOPASSWD: {PROGRAM}" | sudo tee /etc/sudoers.d/powermetrics'
KEYS = {"cpu_energy": "cpu", "gpu_energy": "gpu", "ane_energy": "neural-engine"}
"""Key of powermetrics -> domain."""
_END = re.compile(rb"</plist>")
_TRIAL_S = 30.0
_MOST_SAMPLES = 36_000
"""It exits after an hour: if sudo runs it as root, runoff cannot end it."""


def find_powermetrics(spawner: Spawner) -> StreamMeter | Reason:
    """Return powermetrics as a source, or the reason why it is unavailable, after a trial."""
    if platform.system() != "Darwin":
        return Reason("needs-macos", "needs macOS")
    command = program(os.geteuid())
    try:
        finished = spawner.run((*command, "-n", "1"), dict(os.environ), _TRIAL_S)
    except OSError as error:
        return Reason("tool-missing", f"{command[0]} cannot be started: {error.strerror}")
    if finished.exit_code:
        return Reason("permission", f"{' '.join(command[:3])} {describe_exit(finished)}", f"run: {GRANT}")
    intervals = read_intervals(finished.stdout.encode())
    if not intervals or not intervals[0].joules:
        return Reason("no-counter", f"powermetrics prints none of {', '.join(KEYS)} on this machine")
    return make_meter(command, intervals[0].joules)


def make_meter(command: tuple[str, ...], domains: Iterable[str]) -> StreamMeter:
    """Return the source that runs `command`, which prints `domains` on this machine."""
    unavailable = {
        domain: "powermetrics does not print it on this machine" for domain in KEYS.values() if domain not in domains
    }
    info = apple_info(NAME, "macOS's powermetrics, which runs as root", INTERVAL_S, domains, unavailable)
    argv = (*command, "-n", str(_MOST_SAMPLES))
    return StreamMeter(info, argv, _END, read_intervals, APPLE_MAY_REST, cumulative=False)


def program(user: int) -> tuple[str, ...]:
    """Return the command of a stream for the user with the id `user`: root needs no sudo."""
    samplers = "cpu_power,gpu_power,ane_power"
    command = (PROGRAM, "--samplers", samplers, "-i", f"{INTERVAL_S * 1e3:.0f}", "-f", "plist", "-b", "0")
    return command if user == 0 else ("/usr/bin/sudo", "-n", *command)


def read_intervals(text: bytes) -> list[Interval]:
    """Return the intervals of a stream; NUL bytes between them and an incomplete last one are ignored."""
    *blocks, _rest = text.replace(b"\0", b"").split(b"</plist>")
    return [_interval(block + b"</plist>") for block in blocks]


def _interval(block: bytes) -> Interval:
    try:
        fields = plistlib.loads(block.lstrip(), fmt=plistlib.FMT_XML)
        elapsed_ns = int(fields["elapsed_ns"])
        processor = fields.get("processor", {})
        joules = {domain: float(processor[key]) / 1e3 for key, domain in KEYS.items() if key in processor}
    except (ExpatError, plistlib.InvalidFileException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MeterError(Reason("stream", f"the output of powermetrics is invalid: {error!r}")) from error
    return Interval(elapsed_ns, joules)

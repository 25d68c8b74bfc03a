"""Output of powermetrics and perf in its real structure, and programs that print it over time."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PLIST = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
<key>is_delta</key><true/>
<key>elapsed_ns</key><integer>{elapsed_ns}</integer>
<key>hw_model</key><string>Mac14,2</string>
<key>timestamp</key><date>2026-11-22T10:15:00Z</date>
<key>processor</key><dict>
  <key>clusters</key><array>
{clusters}  </array>
{energies}  <key>combined_power</key><real>900.5</real>
</dict>
<key>gpu</key><dict>
  <key>freq_hz</key><real>4.44e+08</real>
  <key>idle_ratio</key><real>0.98</real>
  <key>idle_ratio</key><real>0.98</real>
</dict>
</dict>
</plist>
"""
_CLUSTER = """    <dict>
      <key>name</key><string>{name}</string>
      <key>idle_ratio</key><real>0.71</real>
      <key>cpus</key><array><dict><key>cpu</key><integer>0</integer><key>idle_ratio</key><real>0.6</real>
        <key>idle_ratio</key><real>0.6</real></dict></array>
    </dict>
"""
ENERGIES = {"cpu_energy": 120, "gpu_energy": 7, "ane_energy": 0}


def plist(
    energies: Mapping[str, int] | None = None,
    elapsed_ns: int = 100_000_000,
    clusters: tuple[str, ...] = ("E-Cluster", "P-Cluster"),
) -> str:
    """Return one block of powermetrics; `energies` are millijoules."""
    counters = "".join(
        f"  <key>{key}</key><integer>{value}</integer>\n"
        for key, value in (ENERGIES if energies is None else energies).items()
    )
    return _PLIST.format(
        elapsed_ns=elapsed_ns, energies=counters, clusters="".join(_CLUSTER.format(name=name) for name in clusters)
    )


def interval(at_s: float | None, **values: Any) -> str:
    """Return the lines that ``perf stat -j`` prints for an interval; events have ``_`` for ``-``."""
    lines = []
    for event, value in values.items():
        counter = value if isinstance(value, str) else f"{value:f}"
        line: dict[str, Any] = {} if at_s is None else {"interval": at_s}
        line |= {"counter-value": counter, "unit": "Joules", "event": f"power/{event.replace('_', '-')}/"}
        lines.append(json.dumps(line | {"event-runtime": 100_201_442, "pcnt-running": 100.0}))
    return "".join(f"{line}\n" for line in lines)


def program(folder: Path, name: str, text: str) -> Path:
    """Write a program that runs `text` with `emit(text)` and `arguments` defined."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    script = path.with_name(f"{name}.py")
    # a shebang cannot name an interpreter with a space in its path
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{script}" "$@"\n')
    script.write_text(
        "import sys, time\n"
        "arguments = sys.argv[1:]\n"
        "def emit(text):\n"
        "    sys.stdout.write(text)\n"
        "    sys.stdout.flush()\n"
        f"{text}"
    )
    path.chmod(0o755)
    return path


def every_tenth(block: str) -> str:
    """Return Python code that writes `block`, with its number for ``NUMBER``, ten times per second, endlessly."""
    return (
        f"block = {block!r}\n"
        "for number in range(1, 10_000):\n"
        "    time.sleep(0.1)\n"
        "    emit(block.replace('NUMBER', str(number)))\n"
    )

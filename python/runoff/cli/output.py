"""JSON on stdout, which every command can print."""

from __future__ import annotations

import sys

import msgspec


def print_json(value: object) -> None:
    """Print `value`, anything that msgspec encodes."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")

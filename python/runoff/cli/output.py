"""JSON output on stdout, shared by all commands."""

from __future__ import annotations

import sys

import msgspec


def print_json(value: object) -> None:
    """Print `value` as JSON; it can be anything that msgspec encodes."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")

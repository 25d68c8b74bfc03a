"""Why something was not measured: a value, which is stored next to the numbers."""

from __future__ import annotations

from msgspec import Struct


class Reason(Struct, frozen=True):
    """Why something was not measured."""

    kind: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

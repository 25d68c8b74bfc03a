"""Reasons for missing values, which are stored next to the numbers."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import force_setattr

from runoff.records.untrusted import clean


class Reason(Struct, frozen=True):
    """Why something was not measured. Its text is often a runner's, so it is cleaned (`runoff.records.untrusted`)."""

    kind: str
    message: str
    hint: str = ""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            force_setattr(self, name, clean(getattr(self, name)))

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ReasonError(Exception):
    """Raised if a measurement cannot continue, with the `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(str(reason))
        self.reason = reason

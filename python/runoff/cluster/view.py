"""The progress of all machines in one view: a table on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

from runoff.records.machine_states import FAILED, FINISHED, LOST
from runoff.records.untrusted import clean
from runoff.report.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

_ROWS = 30
"""Most machines in the table: first those that failed, then those that measure."""
_SILENCE_S = 30.0
_ORDER = (FAILED, LOST, "measuring")
_COLOURS = {FAILED: "red", LOST: "red", FINISHED: "green"}


class View:
    """The states of all machines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        can_redraw = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False, transient=True) if can_redraw else None
        self._states: dict[str, dict[str, Any]] = {}
        self._printed = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, line: str, style: str = "") -> None:
        """Print a line above the table."""
        self._console.print(Text(clean(line), style=style), soft_wrap=True)

    def update(self, states: Iterable[dict[str, Any]]) -> None:
        """Show states that changed; the end of a machine's run is a line."""
        for state in states:
            before = self._states.get(state["name"], {}).get("state")
            self._states[state["name"]] = state
            if state["state"] != before and state["state"] in _COLOURS:
                reason = f": {state['reason']}" if state["reason"] else ""
                text = f"{state['name']}: {state['state']}{reason} ({state['records']} records)"
                self.say(text, _COLOURS[state["state"]])
        if self._live:
            self._live.update(self._table(), refresh=True)
        elif time.monotonic() - self._printed >= _SILENCE_S:
            self._printed = time.monotonic()
            now = next((state for state in self._states.values() if state["state"] == "measuring"), None)
            self.say(f"{self._summary()}; {now['name']}: {now['line']}" if now else self._summary())
            self._console.file.flush()

    def _summary(self) -> str:
        count = Counter(state["state"] for state in self._states.values())
        records = sum(state["records"] for state in self._states.values())
        parts = ", ".join(f"{number} {name}" for name, number in count.items())
        return f"{plural(len(self._states), 'machine')}: {parts}; {records} records"

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", title=Text(self._summary()), title_justify="left")
        for name in ("machine", "state", "records", "now"):
            table.add_column(name, no_wrap=True)
        rows = sorted(
            self._states.values(), key=lambda state: _ORDER.index(state["state"]) if state["state"] in _ORDER else 9
        )
        for state in rows[:_ROWS]:
            cells = (state["name"], state["state"], str(state["records"]), state["line"])
            table.add_row(*(Text(clean(cell)) for cell in cells))
        return table

"""Helpers for the tests of the page."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Opened(NamedTuple):
    """The page in a browser."""

    page: Page
    logged: list[str]
    """Lines of the console, and errors."""
    requests: list[str]
    """Addresses requested by the page."""


@contextmanager
def started_chromium(*switches: str) -> Iterator[Browser]:
    """Start Chromium, headless."""
    with sync_playwright() as playwright:
        # the sandbox refuses to start for root
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        with playwright.chromium.launch(executable_path=find_chromium(), args=[*arguments, *switches]) as browser:
            yield browser


@contextmanager
def opened_page(browser: Browser, address: str, width: int = 1280, **options: Any) -> Iterator[Opened]:
    """Open the page at `address`; `options` are those of a Playwright context."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page, logged, requests = context.new_page(), list[str](), list[str]()
    page.on("console", lambda message: logged.append(message.text))
    page.on("pageerror", lambda error: logged.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    yield Opened(page, logged, requests)
    context.close()


def find_chromium() -> str:
    """Return the path of a Chromium (``RUNOFF_CHROMIUM`` names one).

    Raises
    ------
    FileNotFoundError
    If there is none.
    """
    found = os.environ.get("RUNOFF_CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise FileNotFoundError("the tests of the page need Chromium: apt-get install chromium")
    return found

"""The command ``runoff web serve``."""

from __future__ import annotations

import click

from runoff.cli.options import examples


@click.group()
def web() -> None:
    """Measure in the browser that opens the page, on this machine or on a phone."""


@web.command(epilog=examples("runoff web serve", "runoff web serve --model mobilenet_v2 --port 0"))
@click.option("--model", default="efficientnet-lite0", show_default=True, help="A model of the zoo or the store.")
@click.option("--port", type=click.IntRange(0, 65535), default=8017, show_default=True, help="0 chooses a free one.")
def serve(model: str, port: int) -> None:
    """Serve a page that runs MODEL, or an ONNX file dropped on it, and shows labels, latency and parity.

    The page is only reachable from this machine and loads nothing from elsewhere. Dropped files stay in the browser.
    """
    from runoff.cli.web_server import serve as serve_page

    serve_page(model, port)

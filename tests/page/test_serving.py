"""``runoff web serve`` in a real Chromium: images and ONNX files, on screens and phones, by mouse and keyboard."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from reading import find_chromium, opened_page, started_chromium

from machine import skip_because
from onnx_models import convs, encoder
from runoff import paths
from runoff.cli.web_server import PageServer, page_files
from runoff.models.store import ModelStore
from runoff.records.errors import RunoffError
from runoff.targets.web import ort_node_wasm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from playwright.sync_api import Browser, Page
    from reading import Opened

    from runoff.models.store import StoredModel

    Serving = Callable[..., AbstractContextManager[Opened]]

MODEL, PHOTO, LABEL = "efficientnet-lite0", "china.jpg", "palace"
TIMEOUT_MS = 30_000
DROP = """async ([name, address]) => {
    const file = new File([await (await fetch(address)).blob()], name);
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(file);
    document.getElementById('drop').dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true }));
}"""


@pytest.fixture(scope="module")
def model() -> StoredModel:
    """Return the model; skip the tests without it, without ONNX Runtime Web, or without Chromium."""
    try:
        find_chromium()
        skip_because(str(ort_node_wasm().missing or ""))
        return ModelStore(paths.models()).get(MODEL)
    except (FileNotFoundError, RunoffError) as error:
        skip_because(str(error))
        raise


@pytest.fixture(scope="module")
def server(model: StoredModel) -> Iterator[PageServer]:
    """Serve the page."""
    with PageServer(page_files(model, Path(ort_node_wasm().env["RUNOFF_WEB_MODULES"])), 0) as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()
        yield started
        started.shutdown()


@pytest.fixture(scope="module")
def browser(model: StoredModel) -> Iterator[Browser]:  # noqa: ARG001 (skips)
    """Start Chromium with an emulated GPU for WebGL alone."""
    with started_chromium("--enable-unsafe-swiftshader") as started:
        yield started


@pytest.fixture
def serving(browser: Browser, server: PageServer) -> Serving:
    """Return a function that opens the page; its keywords are those of a Playwright context."""

    @contextmanager
    def opened(width: int = 1280, **options: str) -> Iterator[Opened]:
        with opened_page(browser, server.address, width, **options) as found:
            found.page.locator("#providers input").first.wait_for()
            yield found

    return opened


def ended(page: Page) -> None:
    """Wait until the measurement has ended."""
    expect(page.locator("#again")).to_have_text("Measure again", timeout=TIMEOUT_MS)


def violations(page: Page) -> list[object]:
    """Return what axe finds."""
    found = Axe().run(page).response
    assert len(found["passes"]) > 15
    return [
        (fault["id"], fault["help"], [node["html"][:160] for node in fault["nodes"][:3]])
        for fault in found["violations"]
    ]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_dropped_image_gets_a_label_latency_and_parity(
    serving: Serving, server: PageServer, model: StoredModel, width: int, scheme: str
) -> None:
    with serving(width, color_scheme=scheme) as opened:
        page = opened.page
        assert violations(page) == []
        if width == 390:
            page.set_input_files("#file", model.folder / PHOTO)
        else:
            page.evaluate(DROP, [PHOTO, f"model/{PHOTO}"])
        ended(page)
        expect(page.locator("#title")).to_contain_text(f"{LABEL} in ")
        assert page.locator(".classes li").count() == 5
        assert page.locator(".classes li").first.inner_text().startswith(LABEL)
        assert page.locator(".histogram").get_attribute("aria-label", timeout=1000)
        assert re.search(r"median of \d+ runs, ", page.locator(".card", has_text="Latency").inner_text())
        assert "Nothing to compare with" in page.locator(".card", has_text="Parity").inner_text()
        expect(page.locator("#cold .legend li")).to_have_count(4)
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert opened.logged == ["No available adapters."] * 2  # of WebGPU
        assert [url for url in opened.requests if not url.startswith((server.address, "blob:", "data:"))] == []


def test_an_example_by_the_keyboard_alone_is_compared_with_its_reference(serving: Serving) -> None:
    with serving() as opened:
        page = opened.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the result"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "file"
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        ended(page)
        parity = page.locator(".card", has_text="Parity")
        assert "difference from reference stored with the model" in parity.inner_text()
        assert "Same output: limit 0.05" in parity.inner_text()


def test_an_onnx_file_runs_on_generated_inputs(serving: Serving, tmp_path: Path) -> None:
    with serving() as opened:
        page = opened.page
        page.set_input_files("#file", encoder(tmp_path / "encoder.onnx"))
        ended(page)
        outputs = page.locator(".card", has_text="Outputs").inner_text()
        assert "hidden: float32 [1, 1, 7]" in outputs
        assert "ids: int64 [1, 1]" in outputs
        cores = page.evaluate("navigator.hardwareConcurrency")
        if cores > 1:
            page.locator("input[name=provider]:checked").focus()
            page.keyboard.press("ArrowDown")
            expect(page.locator("#where")).to_contain_text(f"threads in effect: {cores}", timeout=TIMEOUT_MS)
            parity = page.locator(".card", has_text="Parity").inner_text()
            assert "difference from WebAssembly, 1 thread, same input" in parity
            assert "Same output: limit 1e-5" in parity
            assert page.locator("#runs tbody tr").count() == 2


def test_a_wrong_output_gets_no_latency(serving: Serving, tmp_path: Path) -> None:
    with serving() as opened:
        page = opened.page
        page.locator("input[value=ort-web-webgl]").check()
        page.set_input_files("#file", convs(tmp_path / "convs.onnx"))
        ended(page)
        expect(page.locator("#title")).to_have_text("One inference, but not the same output")
        assert "Omitted: the outputs differ." in page.locator(".card", has_text="Latency").inner_text()
        assert "Different output: limit 1e-5" in page.locator(".card", has_text="Parity").inner_text()
        assert "(software)" in page.locator("label", has=page.locator("[value=ort-web-webgl]")).inner_text()


def test_unavailable_providers_are_listed_with_the_reason(serving: Serving) -> None:
    with serving() as opened:
        for name in ("ort-web-webgpu", "ort-web-webgpu-jsep", "ort-web-webnn"):
            radio = opened.page.locator(f"input[value={name}]")
            assert radio.is_disabled()
            assert "Unavailable: " in opened.page.locator("label", has=radio).inner_text()


def test_broken_files_give_one_line(serving: Serving, tmp_path: Path) -> None:
    files = {
        "broken.jpg": (b"\xff\xd8\xff\xe0 no more", "Image broken.jpg: damaged, truncated or unsupported JPEG file."),
        "broken.onnx": (b"no model", "broken.onnx cannot be loaded: "),
        "notes.txt": (b"text", "Image notes.txt: not a JPEG, PNG or WebP file"),
    }
    with serving() as opened:
        page = opened.page
        for name, (content, expected) in files.items():
            (tmp_path / name).write_bytes(content)
            page.set_input_files("#file", tmp_path / name)
            expect(page.locator("#error")).to_contain_text(expected, timeout=TIMEOUT_MS)
            ended(page)
            assert "\n" not in page.locator("#error").inner_text()
            assert page.locator("#cards *").count() == 0


def test_ctrl_c_ends_the_command_quietly(model: StoredModel) -> None:
    command = [sys.executable, "-m", "runoff", "web", "serve", "--model", model.manifest.name, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert address
        with urllib.request.urlopen(f"{address[0]}model.json") as response:  # noqa: S310 (our own)
            assert response.headers["Content-Type"] == "application/json"
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=10)
    assert (process.returncode, rest) == (0, ("", ""))

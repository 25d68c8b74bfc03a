"""The server of ``runoff web serve``: what it sends, to whom, and how it fails."""

from __future__ import annotations

import http.client
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from runoff.cli import main as cli
from runoff.cli.web_server import PageServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runoff.cli.web_server import Files


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """Serve a file, a content, and a file that is gone; one more file is not listed."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "index.html").write_text("<!doctype html>")
    (folder / "secret").write_text("secret")
    files: Files = {"/": folder / "index.html", "/a.wasm": b"\0asm", "/gone": folder / "gone"}
    with PageServer(files, 0) as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()
        yield started
        started.shutdown()


def get(server: PageServer, path: str, host: str = "127.0.0.1") -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of a response."""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=5)  # type: ignore[arg-type]
    connection.request("GET", path, headers={"Host": host})
    response = connection.getresponse()
    found = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return found


def test_pages_are_isolated_and_load_nothing_from_elsewhere(server: PageServer) -> None:
    status, headers, body = get(server, "/")
    assert (status, body) == (200, b"<!doctype html>")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert get(server, "/a.wasm?again")[1]["Content-Type"] == "application/wasm"


@pytest.mark.parametrize("path", ["/secret", "/../secret", "/%2e%2e/secret", "//secret", "/gone", "/a.wasm/../secret"])
def test_only_listed_files_are_sent(server: PageServer, path: str) -> None:
    status, _, body = get(server, path)
    assert (status, body) == (404, b"not found")


def test_another_name_for_this_machine_is_refused(server: PageServer) -> None:
    assert get(server, "/", "localhost:8017")[0] == 200
    assert get(server, "/", "example.org")[0] == 403


def test_a_busy_port_is_an_error_of_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Exception, match="is in use") as raised:
        PageServer({}, taken.getsockname()[1])
    assert "--port 0" in str(raised.value)


def test_without_its_environment_the_command_names_the_one_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNOFF_ENVS", str(tmp_path))
    with pytest.raises(SystemExit) as left:
        cli.main(["web", "serve"])
    assert left.value.code == 3
    assert "run: nox -s web" in capsys.readouterr().err

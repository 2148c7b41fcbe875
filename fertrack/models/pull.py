"""Downloads of known weights: resumable, checked against size and SHA-256, and only then put in place."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from fertrack.errors import WeightsError
from fertrack.models.weights import (
    KnownWeights,
    cache_folder,
    confirmed_hash_file,
    known_weights,
    sha256_of,
    verify,
)

__all__ = ["pull_weights"]

Confirm = Callable[[str], bool]
Progress = Callable[[int, int], None]

_CHUNK = 1 << 18
_TIMEOUT_S = 30.0


def pull_weights(
    weights: str | KnownWeights,
    *,
    confirm: Confirm | None = None,
    progress: Progress | None = None,
    folder: Path | None = None,
) -> Path:
    """Download a known weights file into the cache folder; one that is there already is only checked.

    A transfer that was cut goes on where it stopped when this is called again. The file appears complete and checked,
    or not at all.

    Args:
        weights: a known name, or a registry entry.
        confirm: called with the SHA-256 of a file for which none is pinned; only if it returns True is the file kept.
        progress: called with the bytes received so far and the total (0 if unknown).
        folder: where to put the file instead of the cache folder.

    Returns:
        Path of the file.

    Raises:
        ConfigError: no weights of that name are known.
        WeightsError: there is nothing to download, the server cannot be reached, the transfer was cut, the file is not
            the expected one or was not confirmed, or it cannot be written.
    """
    known = known_weights(weights) if isinstance(weights, str) else weights
    if urllib.parse.urlsplit(known.url).scheme not in {"http", "https"}:
        raise WeightsError(f"{known.name} cannot be downloaded; get it with: {known.recipe}")
    target = (folder or cache_folder()) / known.file_name
    if target.is_file():
        verify(known, target)
        return target
    partial = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(known, partial, progress)
        found = _accepted(known, partial, confirm)
        if not known.sha256:
            confirmed_hash_file(target).write_text(f"{found}\n", encoding="ascii")
        partial.replace(target)
        _tag_file(partial).unlink(missing_ok=True)
    except OSError as error:
        raise WeightsError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def _fetch(known: KnownWeights, partial: Path, progress: Progress | None) -> None:
    """Fetch what the partial file lacks."""
    have = partial.stat().st_size if partial.is_file() else 0
    if known.sha256 and have == known.bytes:
        return
    with _answer(known, partial, have) as answer:
        start = have if answer.status == http.client.PARTIAL_CONTENT else 0
        total = _total(known, answer, start)
        _tag_file(partial).write_text(_tag(answer), encoding="utf-8")
        with partial.open("ab" if start else "wb") as file:
            _copy(known, answer, file, start=start, total=total, progress=progress)


def _answer(known: KnownWeights, partial: Path, have: int) -> http.client.HTTPResponse:
    """The server's answer to the request for what comes after the first ``have`` bytes, or for everything."""
    host = urllib.parse.urlsplit(known.url).hostname
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(_request(known, partial, have), timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            partial.unlink()  # longer than the server's file: not a beginning of it
            return _answer(known, partial, 0)
        raise WeightsError(f"{known.name}: {known.url} answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise WeightsError(
            f"{known.name}: {host} cannot be reached ({getattr(error, 'reason', error)}); where there is a network, "
            f"fetch {known.url}, and put it at {partial.with_suffix('')}"
        ) from error
    return answer


def _request(known: KnownWeights, partial: Path, have: int) -> urllib.request.Request:
    """A request for what comes after the first ``have`` bytes, as far as that is safe to ask for."""
    headers = {"User-Agent": "fertrack", "Accept-Encoding": "identity"}
    tag = _tag_file(partial).read_text(encoding="utf-8") if _tag_file(partial).is_file() else ""
    if have and (tag or known.sha256):
        headers["Range"] = f"bytes={have}-"
        if tag:  # then the server sends the rest only of the same file, else all of the new one
            headers["If-Range"] = tag
    return urllib.request.Request(known.url, headers=headers)


def _total(known: KnownWeights, answer: http.client.HTTPResponse, start: int) -> int:
    """Size of the whole file as the server announces it; 0 if it does not."""
    announced = answer.headers.get("Content-Length", "")
    total = start + int(announced) if announced.isdigit() else 0
    if known.sha256 and total and total != known.bytes:
        raise WeightsError(
            f"{known.name}: {known.url} offers {total} bytes where {known.bytes} are expected: it is another file now"
        )
    return total


def _copy(
    known: KnownWeights,
    answer: http.client.HTTPResponse,
    file: IO[bytes],
    *,
    start: int,
    total: int,
    progress: Progress | None,
) -> None:
    """Copy the answer to the file; what has come is kept if it is cut."""
    received = start
    cut: Exception | None = None
    while True:
        try:
            chunk = answer.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            cut = error
            break
        if not chunk:
            break
        file.write(chunk)
        received += len(chunk)
        if progress:
            progress(received, total)
    if cut or received < total:
        of_total = f" of {total}" if total else ""
        raise WeightsError(
            f"{known.name}: the transfer was cut after {received}{of_total} bytes; run the same command again to go on"
        ) from cut


def _accepted(known: KnownWeights, partial: Path, confirm: Confirm | None) -> str:
    """The hash of the complete file, if it is the pinned one or is confirmed; else the file is removed."""
    found = sha256_of(partial)
    if known.sha256:
        problem = "" if found == known.sha256 else f"its sha256 is {found[:16]}…, expected {known.sha256[:16]}…"
    else:
        problem = "" if confirm is not None and confirm(found) else f"its sha256 {found} was not confirmed"
    if problem:
        partial.unlink()
        _tag_file(partial).unlink(missing_ok=True)
        raise WeightsError(f"{known.name}: the file from {known.url} was removed again: {problem}")
    return found


def _tag(answer: http.client.HTTPResponse) -> str:
    """Version tag of the file on the server: a strong entity tag, else the date of its last change."""
    tag = answer.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")


def _tag_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.tag")

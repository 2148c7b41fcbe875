"""Network streams: RTSP, HTTP (MJPEG, HLS and others), MPEG-TS over UDP."""

from __future__ import annotations

import io
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import av

from fertrack.errors import VideoOpenError
from fertrack.sources.config import InputConfig
from fertrack.sources.stream.cancellation import Lifeline
from fertrack.sources.stream.config import StreamConfig
from fertrack.sources.stream.connection import StreamConnection
from fertrack.sources.stream.credentials import Address, mask_credentials, split_credentials
from fertrack.sources.stream.http_body import HttpBody, open_http
from fertrack.sources.stream.reconnect import LiveSource
from fertrack.sources.stream.udp_body import UdpBody

__all__ = ["STREAM_SCHEMES", "StreamSource"]

STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https", "udp")
"""What the address of a stream may begin with."""

_HLS_TYPES = ("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl")
_PAGE_TYPES = ("text/html", "application/xhtml+xml", "application/json")  # text/... may be a .ts file
_HLS_PATIENCE = 3  # its frames come in parts of 2 to 10 s
_RESUME_S = 0.3
_SMALL_PROBE = {"probesize": "200000", "analyzeduration": "1000000", "fpsprobesize": "0"}


class StreamSource(LiveSource):
    """Frames of a network stream, as they come; connected again whenever it is lost.

    =====================================  =========================================================
    ``rtsp://``, ``rtsps://``              cameras and recorders
    ``http://``, ``https://``              MJPEG, HLS (``.m3u8``), MPEG-TS, a video file played at its own pace
    ``udp://@:1234``, ``udp://239.0.0.1``  MPEG-TS sent to this machine, or to a multicast group
    =====================================  =========================================================

    Name and password stand in the address, ``rtsp://name:password@host/path``; no message, log line or attribute shows
    them. HLS and files are played at the pace of their own times; everything else is shown as it comes, and where that
    cannot be, because decoding is too slow, frames are left out and counted in ``dropped``, so that no delay builds
    up (see ``LivePackets``). See ``LiveSource`` for times, indices, sizes and losses.

    Args:
        location: the address.
        config: how it is opened and reopened.
        input_config: rotation, rate and end.
        closing: closes the source when set, also while it waits for its first connection.

    Raises:
        VideoOpenError: not such an address, or it cannot be opened: one sentence says why.
    """

    def __init__(
        self,
        location: str,
        config: StreamConfig | None = None,
        input_config: InputConfig | None = None,
        closing: threading.Event | None = None,
    ) -> None:
        location = location.strip()
        self._scheme = location.partition("://")[0].lower()
        self._address = split_credentials(location)
        shown = mask_credentials(location)
        if self._scheme not in STREAM_SCHEMES:
            raise VideoOpenError(f"{shown} is not the address of a stream: it has to begin with {_schemes()}")
        if self._scheme != "udp" and not _hostname(self._address.url):
            raise VideoOpenError(f"{shown} names no host: give an address such as {self._scheme}://host/path")
        super().__init__(shown, config, input_config, closing)

    def _connect(self, lifeline: Lifeline) -> StreamConnection:
        if self._scheme == "udp":
            return self._connect_udp(lifeline)
        if self._scheme in ("http", "https"):
            return self._connect_http(lifeline)
        return self._connect_rtsp(lifeline)

    def _connect_rtsp(self, lifeline: Lifeline) -> StreamConnection:
        options = {"rtsp_transport": self._config.transport, **self._probe()}
        parts = urlsplit(self._address.url)
        socket.getaddrinfo(parts.hostname, parts.port)  # FFmpeg does not say that it is the name that is unknown
        container = av.open(
            self._address.with_account(),
            container_options=options,
            metadata_errors="replace",
            timeout=(lifeline.remaining_s(), _RESUME_S),
        )
        return StreamConnection(
            container,
            self._name,
            lifeline,
            self._config.stall_timeout_s,
            resumable=True,
            longest_lag_s=self._config.longest_lag_s,
            deinterlace=self._input.deinterlace,
        )

    def _connect_udp(self, lifeline: Lifeline) -> StreamConnection:
        return self._demux(UdpBody(self._address.url, lifeline), lifeline, "mpegts")

    def _connect_http(self, lifeline: Lifeline) -> StreamConnection:
        body = open_http(self._address, lifeline, verify=self._config.tls_verify)
        kind = body.content_type
        if kind == "multipart/x-mixed-replace":
            return self._demux(body, lifeline, "mpjpeg")
        if kind in _HLS_TYPES or urlsplit(self._address.url).path.endswith(".m3u8"):
            return self._demux(body, lifeline, "hls")
        what = "page" if kind in _PAGE_TYPES else kind.partition("/")[0]
        if what in _NO_VIDEO:
            body.close()
            raise VideoOpenError(f"{self._name} {_NO_VIDEO[what]}")
        return self._demux(body, lifeline, None)

    def _demux(self, body: HttpBody | UdpBody, lifeline: Lifeline, kind: str | None) -> StreamConnection:
        hls: dict[str, Any] = {}
        options = self._probe()
        if kind == "hls":
            options = {"http_persistent": "0"}
            hls = {"io_open": _Playlist(self._address, body.name, lifeline, self._config.tls_verify).open}
        try:
            container = av.open(body, format=kind, container_options=options, metadata_errors="replace", **hls)
        except BaseException:
            body.close()
            raise
        patience = _HLS_PATIENCE if kind == "hls" else 1
        return StreamConnection(
            container,
            self._name,
            lifeline,
            self._config.stall_timeout_s * patience,
            body=body,
            fps_known=kind != "mpjpeg",
            longest_lag_s=self._config.longest_lag_s,
            deinterlace=self._input.deinterlace,
        )

    def _probe(self) -> dict[str, str]:
        return dict(_SMALL_PROBE) if self._config.low_latency else {}


class _Playlist:
    """Opens what an HLS playlist refers to: with its credentials on its own host, without them elsewhere.

    Args:
        address: of the playlist.
        name: what FFmpeg takes for its address.
        lifeline: ends reads.
        verify: whether certificates must be in order.
    """

    def __init__(self, address: Address, name: str, lifeline: Lifeline, verify: bool) -> None:
        self._address, self._name, self._lifeline, self._verify = address, name, lifeline, verify

    def open(self, url: str, flags: int, options: dict[str, str]) -> HttpBody | io.BytesIO:
        """PyAV's ``io_open``: the playlist again, another one, or a part of the video."""
        if self._lifeline.failed:
            return io.BytesIO()
        return self._lifeline.guard(lambda: self._open(url, options))

    def _open(self, url: str, options: dict[str, str]) -> HttpBody:
        if url == self._name:
            address = self._address
        elif urlsplit(url).netloc == urlsplit(self._address.url).netloc:
            address = Address(url, self._address.user, self._address.password)
        else:
            address = Address(url)
        if urlsplit(url).scheme not in ("http", "https"):
            raise VideoOpenError(f"{mask_credentials(self._name)} refers to something that is not on a web server")
        first, end = options.get("offset"), options.get("end_offset")
        part = f"{first or 0}-{int(end) - 1 if end else ''}" if first or end else ""
        return open_http(address, self._lifeline, verify=self._verify, byte_range=part)


_NO_VIDEO = {
    "page": "answers with a web page, not with video: give the address of the stream itself",
    "image": "is a single picture, not a stream: give the address of the camera's MJPEG or RTSP stream",
    "audio": "is sound without pictures: give the address of a video stream",
}


def _hostname(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
        return parts.hostname or ""
    except ValueError:
        return ""


def _schemes() -> str:
    return ", ".join(f"{scheme}://" for scheme in STREAM_SCHEMES[:-1]) + f" or {STREAM_SCHEMES[-1]}://"

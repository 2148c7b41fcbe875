"""MPEG-TS in UDP datagrams, as a file that FFmpeg can read; ends at once when the source is closed."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
import sys
import threading
from collections import deque
from urllib.parse import parse_qs, urlsplit

from fertrack.errors import VideoOpenError
from fertrack.sources.stream.cancellation import Lifeline
from fertrack.sources.stream.credentials import mask_credentials

__all__ = ["UdpBody"]

_POLL_S = 0.1
_KERNEL_BUFFER_BYTES = 4 << 20
_HELD_BYTES = 4 << 20
_LARGEST_DATAGRAM = 65_535
_BINDS_TO_GROUPS = not sys.platform.startswith("win")  # so that other groups' datagrams to the same port stay out


class UdpBody:
    """Datagrams sent to a port of this machine, or to a multicast group, put one after another.

    A thread takes them from the system as they come, so that none is lost while a frame is decoded. Should the
    reader fall behind by 4 MB, the oldest are dropped.

    Args:
        url: ``udp://@:1234`` (any address of this machine), ``udp://192.168.1.5:1234`` or ``udp://239.0.0.1:1234``;
            ``?localaddr=192.168.1.5`` names the interface on which a multicast group is joined.
        lifeline: ends reads.

    Raises:
        VideoOpenError: no port is named, it is in use, or the address is not this machine's.
    """

    def __init__(self, url: str, lifeline: Lifeline) -> None:
        self.name = mask_credentials(url)
        self._lifeline = lifeline
        self._socket = _bound_socket(url)
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._changed = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._receive, name="fertrack-udp", daemon=True)
        self._thread.start()

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, as soon as there are any.

        Raises:
            SourceClosedError: the source is being closed.
            TimeoutError: the deadline is over.
        """
        return b"" if self._lifeline.failed else self._lifeline.guard(lambda: self._read(size))

    def close(self) -> None:
        """Stop receiving. May be called more than once."""
        self._over = True
        self._thread.join()
        self._socket.close()

    def _read(self, size: int) -> bytes:
        with self._changed:
            while not self._held:
                if self._over:
                    return b""
                self._changed.wait(min(_POLL_S, self._lifeline.remaining_s()))
            self._lifeline.remaining_s()
            datagram = self._held.popleft()
            if len(datagram) > size:
                self._held.appendleft(datagram[size:])
                datagram = datagram[:size]
            self._held_bytes -= len(datagram)
        return datagram

    def _receive(self) -> None:
        """The thread: network -> memory."""
        while not self._over:
            try:
                datagram = self._socket.recv(_LARGEST_DATAGRAM)
            except TimeoutError:
                continue
            except ConnectionError:  # Windows tells of an earlier sender's absence this way
                continue
            except OSError:
                break
            with self._changed:
                self._held.append(datagram)
                self._held_bytes += len(datagram)
                while self._held_bytes > _HELD_BYTES:
                    self._held_bytes -= len(self._held.popleft())
                self._changed.notify()
        with self._changed:
            self._over = True
            self._changed.notify()


def _bound_socket(url: str) -> socket.socket:
    try:
        parts = urlsplit(url.replace("://@", "://", 1))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not port:
        raise VideoOpenError(f"{mask_credentials(url)} names no port: give an address such as udp://@:1234")
    local = parse_qs(parts.query).get("localaddr", [""])[0]
    try:
        group = ipaddress.ip_address(host) if host else None
        multicast = group is not None and group.is_multicast
        family = socket.AF_INET6 if group is not None and group.version == 6 else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_DGRAM)
    except ValueError:  # a name
        multicast, family, bound = False, socket.AF_INET, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        with contextlib.suppress(OSError):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BUFFER_BYTES)
        if multicast:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host if not multicast or _BINDS_TO_GROUPS else "", port))
        if multicast:
            _join(bound, family, host, local)
        bound.settimeout(_POLL_S)
    except OSError as error:
        bound.close()
        raise VideoOpenError(f"{mask_credentials(url)} {_why_not(error, port)}") from error
    return bound


def _join(bound: socket.socket, family: int, group: str, local: str) -> None:
    if family == socket.AF_INET6:
        membership = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", 0)
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
    else:
        membership = socket.inet_aton(group) + socket.inet_aton(local or "0.0.0.0")
        bound.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)


def _why_not(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"cannot be received: port {port} is in use by another program"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"names no address of this machine: to receive what is sent here, give udp://@:{port}"
    return f"cannot be received ({error.strerror or error})"

"""Why an address cannot be opened, in words that follow its name, without any credentials."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import urllib.error

from av.error import ExitError, FFmpegError

from fertrack.sources.stream.credentials import mask_credentials

__all__ = ["STATUS_HINTS", "why"]

STATUS_HINTS = {
    401: "give name and password as in scheme://name:password@host/path, or check them",
    403: "this account may not see it: check name, password and rights",
    404: "there is nothing under this path: check the part after the host",
}
"""What to do about an answer of this status."""

_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)


def why(error: BaseException) -> str:
    """Cause and remedy of a failure, to be read after the address: ``"refuses the connection: ..."``."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    status = _ffmpeg_status(error)
    if status:
        return f"answers {status}: {STATUS_HINTS.get(status, 'the server refuses or is overloaded: try again later')}"
    if isinstance(error, socket.gaierror):
        return "cannot be reached: no host of this name is known here; check its spelling and the network"
    if isinstance(error, ConnectionRefusedError):
        return "refuses the connection: check that it is switched on and that the port is right"
    if isinstance(error, TimeoutError | ExitError):  # the second is what PyAV's time limit looks like
        return "does not send a picture in time: check that it is switched on and sends video"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"shows a certificate that cannot be trusted ({error.verify_message}): "
            "if you trust this server, set stream.tls_verify = false"
        )
    if isinstance(error, ssl.SSLError):
        return "does not speak TLS: try the address without the s in its scheme"
    if isinstance(error, OSError) and error.errno in _NO_ROUTE:
        return "cannot be reached: there is no way to it in this network"
    if isinstance(error, ConnectionError):
        return "broke the connection off: check that the port is right"
    if isinstance(error, http.client.HTTPException):
        return "does not answer as a web server does: check scheme and port"
    if isinstance(error, FFmpegError):
        return f"sends nothing that can be shown ({mask_credentials(error.strerror or type(error).__name__)})"
    return f"cannot be opened ({mask_credentials(str(error)) or type(error).__name__})"


def _ffmpeg_status(error: BaseException) -> int:
    """The HTTP or RTSP status an FFmpeg error stands for; 0 if none."""
    return {
        "HTTPBadRequestError": 400,
        "HTTPUnauthorizedError": 401,
        "HTTPForbiddenError": 403,
        "HTTPNotFoundError": 404,
    }.get(type(error).__name__, 0)

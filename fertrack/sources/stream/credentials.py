"""Names, passwords and tokens in addresses: taken out for those who need them, masked for everybody else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

__all__ = ["Address", "mask_credentials", "mask_mistyped", "split_credentials"]

_MASK = "***"

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>[^\s\"'<>]*)")
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]*\]|[^:\[\]@]*)(:\d*)?")
_CERTAINLY_A_HOST = re.compile(r"@?(\[.*\]|[^:@]*\.[^:@]*|localhost|)(:\d*)?")
_SECRET_WORDS = (
    "token|key|pass|pwd|pw|secret|sig|auth|cred|user|usr|login|session|sid|jwt|hash|ticket|policy|code|account|nonce"
)
# name=value pairs, in a query as in "/user=admin_password=x_channel=1.sdp" that some recorders use as a path
_SECRET_PAIR = re.compile(
    rf"(?<![A-Za-z0-9.~-])(?P<name>[A-Za-z0-9.~-]*(?:{_SECRET_WORDS})[A-Za-z0-9.~_-]*)(?P<equals>=|%3[Dd])[^&;/?#\s\"'<>]+",
    re.IGNORECASE,
)


def mask_credentials(text: str) -> str:
    """Replace every name, password and token in the addresses of a text by ``***``; the rest stays as it is.

    Masked are what stands before ``@`` in an address, and the values of parameters whose name tells that they are
    secret (``token``, ``key``, ``password``, ``sig``, ``auth`` and the like), and what stands behind ``#``. A secret
    that is part of an ordinary path cannot be told from it and stays.

    >>> mask_credentials("rtsp://ana:geheim@10.0.0.2:554/live?channel=1&token=abc")
    'rtsp://***@10.0.0.2:554/live?channel=1&token=***'
    """
    return _ADDRESS.sub(_masked, text)


def mask_mistyped(text: str) -> str:
    """Masked form of a text that was named as a source and is none: it may be an address, mistyped.

    In an address without ``://`` nothing tells where name and password begin, so all that stands before the last ``@``
    is hidden. Only a path with ``@`` in its last part (``clips/me@home.mp4``) stays: there is no colon before it.

    >>> mask_mistyped("http:/ana:geheim@10.0.0.2/live?token=abc")
    '***@10.0.0.2/live?token=***'
    """
    if _ADDRESS.match(text):
        return mask_credentials(text)
    account, _, host_on = text.rpartition("@")
    if account and (":" in account or not re.search(r"[/\\]", account)):
        text = f"{_MASK}@{host_on}"
    return _SECRET_PAIR.sub(rf"\g<name>\g<equals>{_MASK}", text)


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """An address without its credentials, and these; its ``repr`` shows the first only.

    Attributes:
        url: the address without name and password; parameters stay in it.
        user: name, decoded; empty if there is none.
        password: likewise.
    """

    url: str
    user: str = ""
    password: str = ""

    def with_account(self) -> str:
        """The address with name and password in it, escaped; for FFmpeg only, never to be shown."""
        if not self.user and not self.password:
            return self.url
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{quote(self.user, safe='')}:{quote(self.password, safe='')}@{rest}"

    def __repr__(self) -> str:
        return f"Address({mask_credentials(self.url)!r})"


def split_credentials(url: str) -> Address:
    """Take name and password out of an address.

    >>> split_credentials("http://ana:a%40b@cam/x").url
    'http://cam/x'
    """
    match = _ADDRESS.fullmatch(url)
    if match is None:
        return Address(url)
    userinfo, rest = _split_userinfo(match["rest"])
    user, _, password = userinfo.partition(":")
    return Address(match["scheme"] + rest, unquote(user), unquote(password))


def _masked(match: re.Match[str]) -> str:
    rest = match["rest"]
    until = _end_of_account(rest)
    kept = f"{_MASK}@" if until else ""
    shown, mark, fragment = rest[until:].partition("#")
    hidden = f"{mark}{_MASK}" if fragment else mark
    return match["scheme"] + kept + _SECRET_PAIR.sub(rf"\g<name>\g<equals>{_MASK}", shown) + hidden


def _end_of_account(rest: str) -> int:
    """Index after all that may be name and password, 0 if nothing may.

    Passwords may have ``@``, ``/`` and ``?`` in them that should be escaped: what may be part of one is hidden.
    """
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    may_be_account = "@" in authority[1:] or (":" in authority and not _CERTAINLY_A_HOST.fullmatch(authority))
    return rest.rfind("@") + 1 if may_be_account else 0


def _split_userinfo(rest: str) -> tuple[str, str]:
    """User information before the host (without its ``@``), and the rest from the host on."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        userinfo, _, _ = authority.rpartition("@")
        return userinfo, rest[len(userinfo) + 1 :]
    if "@" in rest and not _HOST_AND_PORT.fullmatch(authority):  # "ana:pass/word@host": the slash should be %2F
        userinfo, _, host_on = rest.rpartition("@")
        return userinfo, host_on
    return "", rest

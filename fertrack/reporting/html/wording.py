"""Numbers as people write them."""

from __future__ import annotations

__all__ = ["clock", "count", "duration", "megabytes", "percent", "plural"]


def clock(time_s: float, decimals: int = 1) -> str:
    """A moment in the video.

    >>> clock(0), clock(64.25), clock(3723.0, 0)
    ('0:00.0', '1:04.2', '1:02:03')
    """
    units = round(time_s * 10**decimals)
    whole, fraction = divmod(abs(units), 10**decimals)
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return ("-" if units < 0 else "") + text + (f".{fraction:0{decimals}}" if decimals else "")


def duration(seconds: float) -> str:
    r"""A length of time.

    >>> [duration(seconds).replace("\u00a0", " ") for seconds in (0, 0.5, 0.24, 9.96, 75, 3700)]
    ['0 s', '0.5 s', '0.24 s', '10 s', '1 min 15 s', '1 h 1 min 40 s']
    """
    if seconds < 59.95:
        text = f"{seconds:.2f}" if seconds < 0.995 else f"{seconds:.1f}"
        return f"{text.rstrip('0').rstrip('.')}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return "\u00a0".join(f"{number}\u00a0{unit}" for number, unit in parts if number)


def percent(share: float, decimals: int = 0) -> str:
    """A share from 0 to 1; without decimals never 0% for something that is there, nor 100% where something is missing.

    >>> percent(0), percent(0.002), percent(0.62), percent(0.998), percent(1), percent(0.0206, 1)
    ('0%', '<1%', '62%', '>99%', '100%', '2.1%')
    """
    if decimals == 0 and 0 < share < 0.005:
        return "<1%"
    if decimals == 0 and 0.995 <= share < 1 - 1e-9:
        return ">99%"
    return f"{100 * share:.{decimals}f}%"


def megabytes(size_mb: float) -> str:
    r"""The size of a file, in millions of bytes.

    >>> [megabytes(size).replace("\u00a0", " ") for size in (0.04, 1.24, 48.7)]
    ['0.1 MB', '1.2 MB', '49 MB']
    """
    text = f"{size_mb:.0f}" if size_mb >= 9.95 else f"{max(size_mb, 0.1):.1f}"
    return f"{text}\u00a0MB"


def count(number: int) -> str:
    r"""A whole number with narrow spaces between thousands.

    >>> count(90000)
    '90\u202f000'
    """
    return f"{number:,}".replace(",", "\u202f")


def plural(number: int, noun: str, several: str = "") -> str:
    """A count with its noun.

    >>> plural(1, "frame"), plural(2, "frame"), plural(2, "stretch", "stretches")
    ('1 frame', '2 frames', '2 stretches')
    """
    return f"{count(number)} {noun if number == 1 else several or noun + 's'}"

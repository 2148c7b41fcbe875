"""Every error fertrack raises on purpose.

::

    FertrackError
    ├── ConfigError            an option is unknown, out of range or contradicts another
    │   └── WrongUsageError        so it is as typed, whatever files, runs and devices there are
    ├── VideoError
    │   ├── VideoOpenError     the source is missing, not a video, or has no images in it
    │   ├── VideoReadError     decoding failed in a way that could not be skipped
    │   └── VideoWriteError    the annotated video could not be written (disk full, no codec)
    ├── OutputExistsError      a file would be replaced and ``--overwrite`` was not given
    ├── WeightsError           a weights file is missing, or its hash differs
    ├── ModelError             a model's labels, shapes or outputs are not what its bundle says
    ├── StorageError           the database cannot be opened, read or written
    │   ├── SchemaOutOfDateError   its schema is older or newer than this program
    │   └── RunNotFoundError       no such run, track or person is stored
    ├── MissingExtraError      an optional package is not installed; says how to install it
    ├── ReportError            a report or export could not be written
    ├── TableError             a CSV file to be imported cannot be read, or a row of it is wrong
    ├── LabelsError            a file of labels to be imported is unreadable, or a label in it unknown
    └── EvaluationError        what is to be evaluated, or its ground truth, is missing or unreadable

Misuse of the Python API (wrong dtype, wrong shape) raises ``TypeError`` or ``ValueError`` instead.
Messages are one sentence: what is wrong, where, and what to do about it.
"""

__all__ = [
    "ConfigError",
    "EvaluationError",
    "FertrackError",
    "LabelsError",
    "MissingExtraError",
    "ModelError",
    "OutputExistsError",
    "ReportError",
    "RunNotFoundError",
    "SchemaOutOfDateError",
    "StorageError",
    "TableError",
    "VideoError",
    "VideoOpenError",
    "VideoReadError",
    "VideoWriteError",
    "WeightsError",
    "WrongUsageError",
    "first_line",
    "install_hint",
    "reason_of",
    "sentence_of",
]


_MAX_TEXT, _MAX_END = 2000, 500


class FertrackError(Exception):
    r"""Root of all errors that fertrack raises on purpose.

    Its text is one line that a terminal can show, whatever broken input is quoted in it: control characters are written
    out, and an immense text is shortened in its middle.

    >>> str(FertrackError("no such name: \x1b[2J"))
    'no such name: \\x1b[2J'
    """

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) > _MAX_TEXT:
            text = f"{text[: _MAX_TEXT - _MAX_END]} ... {text[-_MAX_END:]}"
        if text.isprintable():
            return text
        return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class ConfigError(FertrackError):
    """An option is unknown, out of range or contradicts another."""


class WrongUsageError(ConfigError):
    """An option is wrong as typed, whatever files, runs and devices there are: the command's exit code is 2, not 1."""


class VideoError(FertrackError):
    """Something is wrong with a video being read or written."""


class VideoOpenError(VideoError):
    """The source is missing, is not a video, or has no frames in it."""


class VideoReadError(VideoError):
    """Decoding failed in a way that could not be skipped."""


class VideoWriteError(VideoError):
    """The annotated video could not be written."""


class OutputExistsError(FertrackError):
    """A file would be replaced and replacing was not asked for."""


class WeightsError(FertrackError):
    """A weights file is missing, or its hash differs from the expected one."""


class ModelError(FertrackError):
    """A model's labels, shapes or outputs differ from those stated in its bundle."""


class StorageError(FertrackError):
    """The database cannot be opened, read or written."""


class SchemaOutOfDateError(StorageError):
    """The database's schema is older or newer than this program."""


class RunNotFoundError(StorageError):
    """No such run, track or person is stored."""


class MissingExtraError(FertrackError):
    """An optional package is not installed.

    Args:
        need: what lacks which package, such as ``"the window needs Qt"``.
        extra: the extra of fertrack that brings it; of several the names with commas between them, ``"torch,export"``.
        advice: what else to say, after the command.
        hint: how to install it, where no extra brings it.

    Attributes:
        hint: the command to install it.

    >>> str(MissingExtraError("the window needs Qt", "gui")) == f"the window needs Qt: {install_hint('gui')}"
    True
    """

    def __init__(self, need: str, extra: str, *, advice: str = "", hint: str = "") -> None:
        self.need, self.extra = need, extra
        self.hint = hint or install_hint(*extra.split(",")) + advice
        super().__init__(f"{need}: {self.hint}")

    def __reduce__(self) -> tuple[object, ...]:
        return _missing_extra, (self.need, self.extra, self.hint)


class ReportError(FertrackError):
    """A report or export could not be written."""


class TableError(FertrackError):
    """A CSV file to be imported cannot be read, or a row of it is wrong."""


class LabelsError(FertrackError):
    """A file of labels to be imported is unreadable, or a label in it is unknown."""


class EvaluationError(FertrackError):
    """Data to be evaluated, or its ground truth, is missing or unreadable."""


def _missing_extra(need: str, extra: str, hint: str) -> MissingExtraError:
    return MissingExtraError(need, extra, hint=hint)


def sentence_of(error: BaseException | None) -> str:
    """Sentence for people about an error: the message of one raised on purpose; of any other its kind as well.

    Returns:
        Empty if there is no error.

    >>> sentence_of(ConfigError("no such option")), sentence_of(KeyError("x")), sentence_of(None)
    ('no such option', "KeyError: 'x'", '')
    """
    if error is None:
        return ""
    return str(error) if isinstance(error, FertrackError) else f"{type(error).__name__}: {error}"


def reason_of(error: BaseException) -> str:
    r"""Why something failed, for a sentence that names the file already: the system's words without number and path.

    >>> reason_of(FileNotFoundError(2, "No such file or directory", "x.toml")), reason_of(ValueError("not a number"))
    ('No such file or directory', 'not a number')
    >>> reason_of(MemoryError())
    'MemoryError'
    """
    said = getattr(error, "strerror", None)  # OSError has one, and so have PyAV's errors
    return said if isinstance(said, str) and said else str(error) or type(error).__name__


def first_line(error: Exception) -> str:
    r"""Message of another library's error, cut to one line; its kind where there is none.

    >>> first_line(ValueError("no such node\nstack: ..."))
    'no such node'
    >>> first_line(MemoryError())
    'MemoryError'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def install_hint(*extras: str) -> str:
    """Command that adds extras to this installation, from the place that fertrack itself was installed from.

    Args:
        extras: names in ``[project.optional-dependencies]``, such as ``"web"``.

    Returns:
        ``pip install 'fertrack[web]'`` where fertrack came from a package index; with the path or address of the
        checkout where it came from one.
    """
    import json
    import shlex
    from importlib.metadata import PackageNotFoundError, distribution
    from pathlib import Path
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    listed = f"[{','.join(extras)}]"
    try:
        origin = json.loads(distribution("fertrack").read_text("direct_url.json") or "{}")  # PEP 610
    except PackageNotFoundError:
        origin = {}
    url = str(origin.get("url", ""))
    if url.startswith("file:") and Path(place := url2pathname(urlsplit(url).path)).exists():
        editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
        return f"pip install {editable}{shlex.quote(place + listed)}"
    if vcs := origin.get("vcs_info"):
        return f"pip install 'fertrack{listed} @ {vcs['vcs']}+{url}@{vcs['commit_id']}'"
    return f"pip install 'fertrack{listed}'"

"""``fertrack live``: a camera, a stream, or a file in real time. ``fertrack gui``: the desktop application."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from fertrack.cli.options import DEFAULT_OUT, Config, Overrides, settings_from
from fertrack.cli.output import err_console, print_json, print_json_line, print_table
from fertrack.tables import seconds_in

if TYPE_CHECKING:
    from rich.console import Console

    from fertrack.live.session import LiveSession
    from fertrack.live.state import LiveState, LiveSummary, Percentiles

__all__ = ["parse_duration_s", "register"]

_INTERRUPTED = 130
_POLL_S = 0.25
_HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)  # POSIX's


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("live")(live)
    app.command("gui")(gui)


def gui(
    video: Annotated[str, typer.Argument(metavar="[VIDEO]", help="Analyse this at once.")] = "",
    demo: Annotated[bool, typer.Option("--demo", help="Analyse the clip of 'fertrack demo'.")] = False,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of new outputs.")] = DEFAULT_OUT,
    db: Annotated[
        str, typer.Option("--db", envvar="FERTRACK_DB", help="Database file or URL. [default: OUT/fertrack.db]")
    ] = "",
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Open the desktop application.

    Needs the extra [gui]. Everything stays on this machine.
    """
    stated = {"storage.url": ("--db", db or None)}
    settings = settings_from(config, overrides, stated)
    from fertrack.gui.desktop import run_application
    from fertrack.outputs.plan import database_url

    if demo:
        from fertrack.demo import compose_demo

        video = str(compose_demo(out / "demo.mp4"))
    raise typer.Exit(run_application(database_url(settings, out), out, settings, video))


def live(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Camera number, rtsp://, http(s):// or udp:// address, or a file.")
    ] = "0",
    web: Annotated[bool, typer.Option("--web", help="Show it on a page in this machine's browser.")] = False,
    window: Annotated[bool, typer.Option("--window", help="Show it in a window.")] = False,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Record what is shown into this video, from the start.")
    ] = None,
    duration: Annotated[str | None, typer.Option(metavar="TIME", help="End after 10s, 5m, 1h30m, ...")] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="SOURCE is a file, to be played at its own speed.")
    ] = False,
    lsl: Annotated[
        bool, typer.Option("--lsl", help="Send estimates and events over Lab Streaming Layer; needs the extra [lsl].")
    ] = False,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Write each result and event to standard output, a line of JSON each.")
    ] = False,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the database, and of recordings begun on the page.")
    ] = DEFAULT_OUT,
    db: Annotated[
        str, typer.Option("--db", envvar="FERTRACK_DB", help="Database file or URL. [default: OUT/fertrack.db]")
    ] = "",
    no_store: Annotated[bool, typer.Option("--no-store", help="Store nothing in the database.")] = False,
    config: Config = None,
    overrides: Overrides = None,
    purpose: Annotated[str, typer.Option(metavar="TEXT", help="What the analysis is for; stored and reported.")] = "",
    consent: Annotated[str, typer.Option(metavar="TEXT", help="Which consent was given; stored and reported.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a recording of the same name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Analyse a camera, a stream, or a file in real time; store rows and, if wanted, a recording.

    Without --web or --window it shows a line of numbers. It ends with the source, after --duration, with q and Enter
    on a terminal, the page's button, or Ctrl-C; also when
    the terminal is closed or the program is asked to end (SIGTERM). Then the run and the recording are completed, and
    the exit code is 0. A second Ctrl-C ends it at once; what was stored by then is kept, the recording beside its
    name as NAME.part.mp4.

    Examples: fertrack live · fertrack live rtsp://camera.local/main --web --record talk.mp4 ·
    fertrack live clip.mp4 --realtime --duration 10s
    """
    if web and window:
        raise typer.BadParameter("give one of the two", param_hint="--web / --window")
    try:
        duration_s = parse_duration_s(duration) if duration is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--duration") from error
    flags: dict[str, tuple[str, object]] = {
        "storage.url": ("--db", db or None),
        "privacy.purpose": ("--purpose", purpose or None),
        "privacy.consent": ("--consent", consent or None),
        "outlet.lsl": ("--lsl", lsl or None),
        "outlet.jsonl": ("--jsonl", jsonl or None),
    }
    settings = settings_from(config, overrides, flags)
    with _leaving_at_once():  # while nothing has begun that would have to be completed
        from fertrack.live.options import LiveOptions
        from fertrack.live.session import LiveSession
        from fertrack.rights.purpose import UNSTATED

        show = _shower(web=web, window=window, port=settings.live.port)
        session = LiveSession(
            settings,
            source,
            LiveOptions(
                realtime=realtime,
                record=record,
                store=not no_store,
                duration_s=duration_s,
                out=out,
                overwrite=overwrite,
            ),
        )
        console = err_console()
        with _ending_by_signals(session) as stopped:
            _start(session, stopped)
            with session:
                show(session, console)
    _report(session, console, as_json=as_json, as_line=settings.outlet.jsonl)
    if session.summary is not None and session.summary.run is not None and not settings.privacy.purpose:
        console.print(f"note: {UNSTATED}", markup=False, soft_wrap=True)
    if session.summary is not None and session.summary.error:
        raise typer.Exit(1)


def parse_duration_s(text: str) -> float:
    """Seconds in a duration as people write it.

    Raises:
        ValueError: it is none, or 0.

    >>> [parse_duration_s(text) for text in ("10", "10s", "1m30s", "1.5h")]
    [10.0, 10.0, 90.0, 5400.0]
    """
    try:
        seconds = seconds_in(text.strip().lower().replace(" ", ""))
    except ValueError:
        seconds = 0.0
    if seconds <= 0.0:
        raise ValueError(f"{text!r} is no duration: give for example 10s, 5m or 1h30m")
    return seconds


def _shower(*, web: bool, window: bool, port: int) -> Callable[[LiveSession, Console], None]:
    """Front end that shows a session until it ends; found before anything is loaded."""
    from fertrack.errors import MissingExtraError

    if window:
        try:
            gui = import_module("fertrack.gui")
        except ImportError as error:
            raise MissingExtraError("--window needs Qt", "gui") from error
        gui.check_ready()
        show = gui.show
        return lambda session, _console: show(session)
    if web:
        try:
            from fertrack.web import check_ready, serve
        except ImportError as error:
            raise MissingExtraError("--web needs a web server", "web") from error
        check_ready(port=port)

        def on_page(session: LiveSession, console: Console) -> None:
            def tell(url: str) -> None:
                console.print(f"open {url}  (only on this machine; Ctrl-C ends)", markup=False, soft_wrap=True)

            try:
                serve(session, port=port, on_ready=tell)
            except KeyboardInterrupt:
                session.stop()

        return on_page
    return _headless


def _start(session: LiveSession, stopped: threading.Event) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from fertrack.errors import FertrackError

    try:
        # In a thread of its own, so that Ctrl-C never interrupts what holds a lock that ending needs.
        with ThreadPoolExecutor(1, thread_name_prefix="fertrack-start") as starter:
            starter.submit(session.start).result()
    except FertrackError:
        if stopped.is_set():  # while it was waiting for the source
            raise typer.Exit(_INTERRUPTED) from None
        raise


def _headless(session: LiveSession, console: Console) -> None:
    """Wait for the end, with a line of numbers on a terminal, and an eye on the key q."""
    if not console.is_terminal:
        while not session.wait(_POLL_S):
            if _wants_to_quit():
                session.stop()
        return
    with console.status("starting") as line:
        while not session.wait(_POLL_S):
            if _wants_to_quit():
                session.stop()
            line.update(_line(session.state()))


def _line(state: LiveState) -> str:
    from rich.markup import escape

    if state.status.state != "live":
        return escape(f"{state.source}: {state.status.state} {state.status.message}".strip())
    visible = [person for person in state.persons if person.visible]
    who = ", ".join(f"{person.name} {person.label} {person.probability:.2f}" for person in visible[:4])
    more = f" and {len(visible) - 4} more" if len(visible) > 4 else ""
    recording = " · recording" if state.recording else ""
    digits = 0 if state.results_hz >= 9.5 else 1
    latency = f"{state.latency_ms.p50:.0f} ms" if state.latency_ms else "not measured"
    return escape(
        f"{state.time_s:.0f} s · display {state.display_fps:.0f} fps · results {state.results_hz:.{digits}f} Hz · "
        f"latency {latency} · dropped {state.dropped}{recording} · {who or 'nobody'}{more} · q Enter ends"
    )


def _wants_to_quit() -> bool:
    """Whether q and Enter were typed; never waits, and never reads what is not a terminal."""
    try:
        if os.name != "posix" or not sys.stdin.isatty() or not select.select([sys.stdin], [], [], 0.0)[0]:
            return False
        return sys.stdin.readline().strip().lower() == "q"
    except (OSError, ValueError):  # no standard input at all
        return False


@contextmanager
def _leaving_at_once() -> Iterator[None]:
    """Until something else handles it, Ctrl-C ends the program here: raised amid imports, it can get lost in them."""

    def leave(_signum: int, _frame: object) -> None:
        _exit(b"interrupted\n")

    with _handling([signal.SIGINT], leave):
        yield


@contextmanager
def _ending_by_signals(session: LiveSession) -> Iterator[threading.Event]:
    """The first Ctrl-C, closed terminal or SIGTERM ends the run, completely; one more Ctrl-C the program at once."""
    stopped = threading.Event()
    terminals = [number for number in (0, 1, 2) if os.isatty(number)]

    def stop(signum: int, _frame: object) -> None:
        if signum == _HANGUP:  # the terminal is gone: what is still printed must not break the ending
            for number in terminals:
                with suppress(OSError):
                    os.dup2(nowhere, number)
        if stopped.is_set():
            if signum == signal.SIGINT:
                _exit(b"ended at once: what was stored up to the last second is kept\n")
            return
        stopped.set()
        session.stop()

    signals = [signal.SIGINT, signal.SIGTERM]
    if _HANGUP is not None and signal.getsignal(_HANGUP) is not signal.SIG_IGN:  # as with nohup
        signals.append(_HANGUP)
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        with _handling(signals, stop):
            yield stopped
    finally:
        os.close(nowhere)


@contextmanager
def _handling(signals: list[signal.Signals], handler: Callable[[int, object], None]) -> Iterator[None]:
    """Let it handle these signals, if this is the main thread; else whoever runs us handles them."""
    before = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for each in signals:
                before[each] = signal.signal(each, handler)
        yield
    finally:
        for each, previous in before.items():
            signal.signal(each, previous)


def _exit(words: bytes) -> NoReturn:
    with suppress(OSError):  # nothing that could be in the middle of something else, such as a console
        os.write(2, words)
    os._exit(_INTERRUPTED)


def _report(session: LiveSession, console: Console, *, as_json: bool, as_line: bool) -> None:
    if session.error is not None:
        raise session.error
    summary = session.summary
    if summary is None:
        return
    for note in summary.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    if as_line:  # standard output holds a line of JSON each
        print_json_line({"type": "summary", **asdict(summary)})
        return
    if as_json:
        print_json(asdict(summary))
        return
    print_table(["live", ""], _facts(summary))


def _facts(summary: LiveSummary) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [
        ("run", f"{summary.run if summary.run is not None else 'not stored'} ({summary.status})"),
        ("time", f"{summary.duration_s:.1f} s"),
        ("frames", f"{summary.frames}, of which {summary.analysed} analysed, {summary.displayed} displayed"),
        ("dropped, undecodable", f"{summary.dropped}, {summary.decode_failures}"),
        ("faces, tracks, persons", f"{summary.faces}, {summary.tracks}, {summary.persons}"),
        ("display, results", f"{summary.display_fps:.1f} fps, {summary.results_hz:.1f} Hz"),
        ("latency", _percentiles(summary.latency_ms, "capture to drawn")),
        ("age of results", _percentiles(summary.age_ms, "when displayed")),
    ]
    if summary.reconnects:
        facts.append(("reconnected", f"{summary.reconnects} times"))
    facts += [("recording", path) for path in summary.recordings]
    if summary.database:
        facts.append(("database", summary.database))
    return facts


def _percentiles(found: Percentiles | None, of_what: str) -> str:
    if found is None:
        return "not measured"
    return f"p50 {found.p50:.0f} · p95 {found.p95:.0f} · p99 {found.p99:.0f} ms, {of_what}"

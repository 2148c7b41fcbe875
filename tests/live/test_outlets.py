"""Outlets of live runs: received on this machine, at the right times, by programs that may be slow or gone."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fertrack.cli.live import _report
from fertrack.config import Settings, load_settings
from fertrack.errors import ConfigError, MissingExtraError
from fertrack.live import LiveSession
from fertrack.live.options import LiveOptions
from fertrack.live.outlets.jsonl import JsonLinesOutlet
from fertrack.live.outlets.lsl import LslOutlet, Slots, clock_offset
from fertrack.live.outlets.outlet_sink import OutletSink, open_outlets
from fertrack.live.outlets.updates import LiveEvent, Outlet, Update
from fertrack.live.people import PeopleSink
from fertrack.types import EXPRESSIONS, FrameResult
from tests.support.live_scenes import SETTINGS, LiveScene, live_pipeline
from tests.support.storage_scenes import result, summary

MAX_ERROR_S = 0.005
SCENE = [
    result(0, 0.0, [(1, "anger", 0.5)]),
    result(1, 0.04, [(1, "anger", 0.6), (2, "uncertain", 0.3)]),
    result(2, 0.08, [(1, "fear", 0.6), (2, "sadness", 0.5)]),
    result(3, 0.12, [(2, "sadness", 0.5)]),
]


class Kept:
    """An outlet that keeps what it was sent."""

    def __init__(self) -> None:
        self.notes: list[str] = ["a note"]
        self.updates: list[Update] = []
        self.closed = 0

    def send(self, update: Update) -> None:
        self.updates.append(update)

    def close(self) -> None:
        self.closed += 1


def send(outlet: Outlet, scene: Sequence[FrameResult], captured_s: Sequence[float]) -> OutletSink:
    people = PeopleSink()
    with OutletSink([outlet], people, lambda index: captured_s[index]) as sink:
        for each in scene:
            people.write(each)
            sink.write(each)
        sink.finish(summary(scene))
    return sink


def told(events: Sequence[LiveEvent]) -> list[tuple[Any, ...]]:
    return [(each.event, each.person, each.expression) for each in events]


# Events -----------------------------------------------------------------------------------------------------------


def test_events_say_who_came_and_went_and_what_began_and_ended() -> None:
    outlet = Kept()
    sink = send(outlet, SCENE, [0.0] * 4)
    assert [told(each.events) for each in outlet.updates] == [
        [("seen", 1, ""), ("onset", 1, "anger")],
        [("seen", 2, "")],
        [("offset", 1, "anger"), ("onset", 1, "fear"), ("onset", 2, "sadness")],
        [("offset", 1, "fear"), ("lost", 1, "")],
        [("offset", 2, "sadness"), ("lost", 2, "")],
    ]
    (offset, *_) = outlet.updates[2].events
    assert offset.as_dict()["duration_s"] == 0.08
    assert [len(each.persons) for each in outlet.updates] == [1, 2, 2, 1, 0]
    assert sink.notes == ["a note"]
    assert outlet.closed >= 1


def test_a_source_that_was_away_is_told_once_when_it_is_back() -> None:
    outlet, people, came_back = Kept(), PeopleSink(), [0]
    with OutletSink([outlet], people, lambda _: 0.0, lambda: came_back[0]) as sink:
        for each in (result(0, 0.0), result(90, 3.6), result(91, 3.64)):
            people.write(each)
            sink.write(each)
            came_back[0] = 1
    assert [[event.as_dict() for event in each.events] for each in outlet.updates] == [
        [],
        [{"event": "outage", "time_s": 3.6, "duration_s": 3.6}],
        [],
    ]


def test_a_person_who_goes_on_under_another_track_keeps_the_expression() -> None:
    outlet = Kept()
    linked = {1: 0, 7: 0}
    people = PeopleSink(lambda: linked)
    with OutletSink([outlet], people, lambda _: 0.0) as sink:
        for each in (result(0, 0.0, [(1, "anger", 0.5)]), result(1, 0.04, [(7, "anger", 0.5)])):
            people.write(each)
            sink.write(each)
    assert told(outlet.updates[1].events) == [("id", 1, "")]
    assert outlet.updates[1].events[0].track == 7


# Lab Streaming Layer ----------------------------------------------------------------------------------------------


@pytest.fixture
def pylsl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    settings = tmp_path / "lsl.cfg"  # this machine only
    settings.write_text(
        "[ports]\nIPv6 = disable\n[multicast]\nResolveScope = machine\n[lab]\nKnownPeers = {127.0.0.1}\n"
        "[log]\nlevel = -2\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("LSLAPICFG", str(settings))
    return pytest.importorskip("pylsl", reason="pylsl is not installed: no stream is received")


def received(pylsl: Any, name: str) -> Any:
    streams = pylsl.resolve_byprop("name", name, timeout=10.0)
    assert streams, f"{name} is not found"
    inlet = pylsl.StreamInlet(streams[0])
    inlet.open_stream(timeout=10.0)
    return inlet


@pytest.mark.timeout(60)
def test_samples_and_markers_arrive_at_their_time_of_capture(pylsl: Any) -> None:
    outlet = LslOutlet(2, "test camera")
    first, markers = received(pylsl, "fertrack person 1"), received(pylsl, "fertrack markers")
    names, channel = [], first.info().desc().child("channels").child("channel")
    for _ in EXPRESSIONS:
        names.append(channel.child_value("label"))
        channel = channel.next_sibling()
    assert tuple(names) == EXPRESSIONS
    captured_s, expected_s = [], []
    for _ in SCENE:  # their clock read between two readings of ours, as the truth
        before_s, theirs_s, after_s = time.monotonic(), pylsl.local_clock(), time.monotonic()
        captured_s.append((before_s + after_s) / 2)
        expected_s.append((theirs_s, (after_s - before_s) / 2))
        time.sleep(0.01)
    correction_s = first.time_correction(timeout=10.0)
    send(outlet, SCENE, captured_s)
    samples = [first.pull_sample(timeout=5.0) for _ in range(3)]
    assert [max(range(7), key=values.__getitem__) for values, _ in samples] == [
        EXPRESSIONS.index(word) for word in ("anger", "anger", "fear")
    ]
    for (_, at_s), (theirs_s, unsure_s) in zip(samples, expected_s, strict=False):
        assert abs(at_s + correction_s - theirs_s) <= MAX_ERROR_S + unsure_s
    events = [json.loads(markers.pull_sample(timeout=5.0)[0][0]) for _ in range(12)]
    assert [each["event"] for each in events][:4] == ["slot", "seen", "onset", "slot"]
    assert events[-1] == {"event": "lost", "time_s": 0.12, "person": 2, "name": "P2", "track": 2}, "nothing is cut off"
    assert events[0] == {"event": "slot", "slot": 1, "person": 1, "name": "P1"}


def test_clocks_of_another_rate_and_start_are_mapped_by_the_quickest_reading() -> None:
    ours = iter([0.0, 1.0, 2.0, 2.001, 3.0, 4.0])
    theirs = iter([100.9, 102.0005, 103.1])
    assert clock_offset(lambda: next(theirs), lambda: next(ours)) == pytest.approx(100.0)


def test_a_slot_goes_to_somebody_else_only_while_its_holder_is_out_of_sight() -> None:
    slots = Slots(2)
    assert [slots.of(person, 1.0, {1, 2}) for person in (1, 2)] == [(0, True), (1, True)]
    assert slots.of(3, 2.0, {1, 2, 3}) == (None, False)
    assert slots.was_full
    assert slots.of(1, 3.0, {1, 3}) == (0, False)
    assert slots.of(3, 3.0, {1, 3}) == (1, True)
    assert slots.of(2, 4.0, {2, 3}) == (0, True)


def test_without_pylsl_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pylsl", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*lsl"):
        open_outlets(Settings().outlet.model_copy(update={"lsl": True}), "camera 0")


# JSON lines -------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def connected() -> Iterator[tuple[JsonLinesOutlet, socket.socket]]:
    outlet = JsonLinesOutlet(port=free_port())
    with socket.create_connection(("127.0.0.1", outlet.port), timeout=10.0) as client:
        while not outlet._clients:
            time.sleep(0.005)
        yield outlet, client
    outlet.close()


def test_a_program_on_this_machine_gets_a_line_a_result_and_event(
    connected: tuple[JsonLinesOutlet, socket.socket],
) -> None:
    outlet, client = connected
    now_s, unix_s = time.monotonic(), time.time()
    send(outlet, SCENE, [now_s] * 4)
    with client.makefile(encoding="utf-8") as stream:
        lines = [json.loads(line) for line in stream]
    results = [line for line in lines if line["type"] == "result"]
    assert [line["frame_index"] for line in results] == [0, 1, 2, 3]
    assert abs(results[0]["captured_at"] - unix_s) < 1.0
    (person,) = results[0]["persons"]
    assert (person["name"], person["track"], person["expression"]) == ("P1", 1, "anger")
    assert list(person["probabilities"]) == list(EXPRESSIONS)
    assert len(person["xyxy"]) == 4
    assert [line["event"] for line in lines if line["type"] == "event"][:2] == ["seen", "onset"]
    assert outlet.notes == []


def test_a_program_that_leaves_disturbs_nobody(connected: tuple[JsonLinesOutlet, socket.socket]) -> None:
    outlet, client = connected
    client.close()
    send(outlet, SCENE * 20, [time.monotonic()] * 4)
    assert outlet.notes == []


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} cannot be used"):
            open_outlets(Settings().outlet.model_copy(update={"jsonl_port": port}), "camera 0")


def test_standard_output_that_nobody_reads_ends_the_lines_and_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as broken:
        monkeypatch.setattr(sys, "stdout", broken)
        outlet = JsonLinesOutlet(stdout=True)
        send(outlet, SCENE, [time.monotonic()] * 4)
        monkeypatch.undo()
    assert len(outlet.notes) == 1
    assert "took no more JSON lines" in outlet.notes[0]


def test_a_live_run_writes_its_lines_and_its_summary_to_standard_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(overrides=["outlet.jsonl=true"], base="")
    settings = SETTINGS.model_copy(update={"outlet": settings.outlet})
    options = LiveOptions(out=tmp_path, store=False, duration_s=0.5)
    with LiveSession(settings, options=options, source=LiveScene(), pipeline=live_pipeline()) as session:
        assert session.wait(20.0)
    assert session.error is None
    from fertrack.cli.output import err_console

    _report(session, err_console(), as_json=False, as_line=True)
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {line["type"] for line in lines} == {"result", "event", "summary"}
    assert lines[-1]["type"] == "summary"
    assert sum(line["type"] == "result" for line in lines) == lines[-1]["analysed"]

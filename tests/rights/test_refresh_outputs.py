"""Erasing: which files are touched, which are left and named, and which stay known for the others who are in them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fertrack.config import load_settings
from fertrack.render import render_run
from fertrack.reporting.exports.registry import export_run
from fertrack.reporting.html.run_page import write_html
from fertrack.rights.erase import erase_person
from fertrack.storage.engine import Database, open_database
from fertrack.storage.written_files import LiveVideo, record_output
from tests.support import queries
from tests.support.queries import outputs
from tests.support.rights_scenes import (
    FPS,
    FRAMES,
    HEIGHT,
    WIDTH,
    add_person,
    box,
    decoded,
    likeness,
    make_clip,
    picture,
    results,
    store_clip,
)


@pytest.fixture
def db(tmp_path: Path, empty_database: Path) -> Iterator[Database]:
    shutil.copy(empty_database, tmp_path / "a.db")
    with open_database(tmp_path / "a.db", busy_timeout_s=0.5) as database:
        yield database


def stored(db: Database, clip: Path, seed: int, *persons: tuple[str, int], settings: list[str] | None = None) -> int:
    """A run of the clip, in which the first person is track 1 and the second one is track 2."""
    chosen = load_settings([], ["video.audio=false", "video.crf=12", *(settings or [])])
    run = store_clip(db, clip, results(seed), chosen)
    for track, (name, number) in enumerate(persons, 1):
        add_person(db, run, name, number, [track])
    return run


def hidden(path: Path, person: int) -> bool:
    return max(abs(likeness(image, person, index)) for index, image in enumerate(decoded(path))) < 0.35


def test_a_home_folder_called_like_somebody_is_no_reason_to_forget_files(db: Database, tmp_path: Path) -> None:
    """Ada's videos lie in /Users/ada, and so do Bob's."""
    home = tmp_path / "ada"
    one, two = (make_clip(home / name) for name in ("one.mp4", "two.mp4"))
    first = stored(db, one, 1, ("Ada", 1))
    second = stored(db, two, 2, ("Bob", 2), settings=[f'detection.weights="{home}/ada.onnx"'])
    for run in (first, second):
        render_run(db, run, home / f"{run}.mp4")
    before = queries.run_facts(db, second)
    erase_person(db, "Ada")
    assert {file.path for file in outputs(db)} == {home / "1.mp4", home / "2.mp4"}
    assert queries.run_facts(db, first).source_path == str(one)
    after = queries.run_facts(db, second)
    assert (after.source_path, after.config_toml) == (str(two), before.config_toml)
    assert erase_person(db, "Bob").redrawn == [home / "2.mp4"]
    assert hidden(home / "2.mp4", 1)


@pytest.mark.parametrize("name", ["Max", "Min", "Video"])
def test_somebody_called_like_an_option_makes_no_report_forgotten(db: Database, tmp_path: Path, name: str) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    stored(db, clip, 1, (name, 1))
    other = stored(db, clip, 2, ("Bob", 2))
    report = write_html(db, other, tmp_path / "page.html")
    erase_person(db, name)
    assert [file.path for file in outputs(db)] == [report]


def test_a_file_called_like_somebody_stays_known_for_the_others_in_it(db: Database, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    run = stored(db, clip, 1, ("Ada", 1), ("Bob", 2))
    video = render_run(db, run, tmp_path / "ada.mp4").path
    said = erase_person(db, "Ada").left
    assert any("ada.mp4 names the person: rename it" in sentence for sentence in said)
    assert [file.path for file in outputs(db)] == [video]
    assert erase_person(db, "Bob").redrawn == [video]
    assert hidden(video, 2)


def test_a_file_called_like_the_last_person_in_it_is_forgotten(db: Database, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "ada.mp4")
    run = store_clip(db, clip, results(1, seen=((1, 1, FRAMES),)))
    add_person(db, run, "Ada", 1, [1])
    write_html(db, run, tmp_path / "ada.html")
    said = erase_person(db, "Ada").left
    assert any("ada.html names the person: rename it" in sentence for sentence in said)
    assert outputs(db) == []
    content = Path(db.url).read_bytes()
    assert b"ada.mp4" not in content
    assert b"ada.html" not in content


def test_an_edited_export_of_the_person_alone_is_left_and_named(db: Database, tmp_path: Path) -> None:
    run = stored(db, make_clip(tmp_path / "clip.mp4"), 1, ("Ada", 1), ("Bob", 2))
    (path,) = export_run(db, run, "elan", tmp_path / "out", track=1)
    path.write_text(path.read_text(encoding="utf-8") + "\nmy note", encoding="utf-8")
    report = erase_person(db, "Ada")
    assert report.deleted == []
    assert path.read_text(encoding="utf-8").endswith("my note")
    assert any(f"{path.name} was changed since it was written" in sentence for sentence in report.left)


def recorded(db: Database, run: int, path: Path, clip: Path) -> bytes:
    """A live run's recording, which for once shows just what the source did; returns what is in the file."""
    shutil.copy(clip, path)
    record_output(db, run, path, LiveVideo(0.0))
    return path.read_bytes()


def test_a_recording_is_overwritten_and_known_again_afterwards(db: Database, tmp_path: Path) -> None:
    clip, talk = make_clip(tmp_path / "clip.mp4"), tmp_path / "talk.mp4"
    run = stored(db, clip, 1, ("Ada", 1), ("Bob", 2))
    recorded(db, run, talk, clip)
    assert erase_person(db, "Ada").overwritten == [talk]
    assert erase_person(db, "Bob").overwritten == [talk], "what erasing has written is fertrack's own"
    assert hidden(talk, 1)
    assert hidden(talk, 2)


@pytest.mark.parametrize("shown_alike", [(), ((1, 2),)])
def test_a_name_that_a_recording_shows_on_somebody_else_is_hidden_there_too(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown_alike: tuple[tuple[int, ...], ...]
) -> None:
    """The live view took the other one for Ada; the end of the run told them apart."""
    left, top, right, _ = map(int, box(2, 1))
    above = np.s_[top - 14 : top - 4, left:right]  # where a label is drawn

    def labelled(index: int) -> np.ndarray:
        image = picture(index)
        image[above][:, ::8] = 255
        return image

    clip, talk = make_clip(tmp_path / "clip.mp4"), tmp_path / "talk.mp4"
    run = stored(db, clip, 1, ("Ada", 1), ("Bob", 2))
    monkeypatch.setattr("tests.support.rights_scenes.picture", labelled)
    make_clip(talk)
    record_output(db, run, talk, LiveVideo(0.0, shown_alike))
    assert decoded(talk)[1][above].std() > 20
    assert erase_person(db, "Ada").overwritten == [talk]
    after = decoded(talk)
    assert (after[1][above].std() < 5) == bool(shown_alike)
    assert likeness(after[FRAMES - 1], 2, FRAMES - 1) > 0.5, "the other one's face stays, but for its upper edge"


def test_another_video_in_a_recordings_place_is_left_and_named(db: Database, tmp_path: Path) -> None:
    """Of the same size and length, so that only its bytes tell them apart."""
    clip, talk = make_clip(tmp_path / "clip.mp4"), tmp_path / "talk.mp4"
    run = stored(db, clip, 1, ("Ada", 1), ("Bob", 2))
    recorded(db, run, talk, clip)
    with talk.open("ab") as file:
        file.write(b"\0\0\0\x08free")
    mine = talk.read_bytes()
    foreseen = erase_person(db, "Ada", dry_run=True)
    report = erase_person(db, "Ada")
    assert talk.read_bytes() == mine
    assert (foreseen.overwritten, report.overwritten, report.redrawn) == ([], [], [])
    assert any("talk.mp4 was not changed: it is not as fertrack has written it" in each for each in report.left)


def test_what_another_run_was_made_from_is_never_written_to(db: Database, tmp_path: Path) -> None:
    clip, talk = make_clip(tmp_path / "clip.mp4"), tmp_path / "talk.mp4"
    run = stored(db, clip, 1, ("Ada", 1), ("Bob", 2))
    before = recorded(db, run, talk, clip)
    other = stored(db, talk, 2)
    report = erase_person(db, "Ada")
    assert talk.read_bytes() == before
    assert any(f"talk.mp4 was not changed: run {other} was made from it" in sentence for sentence in report.left)


def test_killed_while_a_video_is_replaced_it_is_hidden_the_next_time(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, talk = make_clip(tmp_path / "clip.mp4"), tmp_path / "talk.mp4"
    run = stored(db, clip, 1, ("Ada", 1), ("Bob", 2))
    recorded(db, run, talk, clip)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            erase_person(db, "Ada")
    assert erase_person(db, "Ada").overwritten == [talk]
    assert hidden(talk, 1)


def test_an_outages_still_pictures_are_hidden_in_a_recording_too(db: Database, tmp_path: Path) -> None:
    """While a stream is away, a recording may repeat its last picture for many seconds, and nothing is analysed."""
    clip, talk = make_clip(tmp_path / "clip.mp4"), tmp_path / "talk.mp4"
    run = stored(db, clip, 1, ("Ada", 1), ("Bob", 2))
    last = FRAMES - 1
    times_s = [*(index / FPS for index in range(FRAMES)), *(last / FPS + 0.5 * still for still in range(1, 13))]
    with av.open(str(talk), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "8", "preset": "ultrafast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(picture(min(index, last)), "bgr24")
            frame.pts, frame.time_base = round(1000 * time_s), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    record_output(db, run, talk, LiveVideo(0.0))
    erase_person(db, "Ada")
    stills = decoded(talk)[FRAMES:]
    assert len(stills) == 12
    assert max(abs(likeness(image, 1, last)) for image in stills) < 0.35
    assert min(likeness(image, 2, last) for image in stills) > 0.85


def test_other_runs_of_the_same_video_are_named(db: Database, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    first = stored(db, clip, 1, ("Ada", 1), ("Bob", 2))
    again = stored(db, clip, 2)
    (tmp_path / "copy").mkdir()
    copied = stored(db, Path(shutil.copy(clip, tmp_path / "copy" / "clip.mp4")), 3)
    stored(db, make_clip(tmp_path / "another.mp4"), 4)
    for report in (erase_person(db, "Ada", first, dry_run=True), erase_person(db, "Ada", first)):
        named = [sentence.split()[1] for sentence in report.left if "made from the same video" in sentence]
        assert named == [str(again), str(copied)]

"""Re-linking end to end, on clips composed of public-domain portraits: somebody leaves for 3 s and comes back."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest

import fertrack
from fertrack.build import build_pipeline
from fertrack.cli.main import run
from fertrack.config import Settings, load_settings, to_toml
from fertrack.demo import portrait
from fertrack.embedders import build_embedder
from fertrack.errors import ConfigError, MissingExtraError, StorageError, VideoOpenError
from fertrack.imaging.track_labels import person_bgr
from fertrack.reid.config import LinkingConfig
from fertrack.render import render_run
from fertrack.sinks.database import DatabaseSink
from fertrack.sinks.reid import ReidSink
from fertrack.sinks.reidentifier import build_reidentifier
from fertrack.storage.engine import open_database
from fertrack.storage.people.links import load_known
from fertrack.testing import FakeClassifier, FakeDetector, ScenePerson, SceneSource, SyntheticScene
from fertrack.types import FrameResult, RunSummary
from tests.support import queries
from tests.support.storage_scenes import INFO, RECORD, result, store

FPS, WIDTH, HEIGHT = 10, 640, 360
CURRENT = replace(RECORD, config_toml=to_toml(Settings()))
# A head that appears from one frame to the next looks like a cut, which would give everybody a new ID.
QUICK = ["tracking.rejoin_s=0", "shots.enabled=false", "detection.long_side=320", "report.html=false"]


def head(name: str, height_px: int, gain: float = 1.0) -> np.ndarray:
    picture = portrait(name)
    scale = height_px / picture.shape[0]
    small = cv2.resize(picture, (round(picture.shape[1] * scale), height_px), interpolation=cv2.INTER_AREA)
    return np.clip(small * gain, 0, 255).astype(np.uint8)


def compose(path: Path, frames: list[list[tuple[np.ndarray, int, int]]]) -> Path:
    """Write a clip; each frame is a list of heads with the place of their top left corner."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for heads in frames:
            picture = np.full((HEIGHT, WIDTH, 3), (110, 105, 90), np.uint8)
            for image, x, y in heads:
                picture[y : y + image.shape[0], x : x + image.shape[1]] = image
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hopper stays; the astronaut is there for 2 s, gone for 3 s, and back for 2 s: smaller, and elsewhere."""
    hopper, near, far = head("hopper", 200), head("astronaut", 220), head("astronaut", 170, 0.8)
    frames = []
    for index in range(7 * FPS):
        heads = [(hopper, 440 - index % 7, 60)]
        if index < 2 * FPS:
            heads.append((near, 30 + 2 * index, 70))
        elif index >= 5 * FPS:
            heads.append((far, 250 - 2 * (index - 5 * FPS), 150))
        frames.append(heads)
    return compose(tmp_path_factory.mktemp("clip") / "returns.mp4", frames)


@pytest.fixture(scope="module")
def second_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another day: the astronaut alone, mirrored."""
    mirrored = np.ascontiguousarray(head("astronaut", 240)[:, ::-1])
    return compose(
        tmp_path_factory.mktemp("clip") / "later.mp4", [[(mirrored, 100 + 3 * i, 60)] for i in range(2 * FPS)]
    )


@pytest.fixture(scope="module")
def processed(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> fertrack.ProcessResult:
    pytest.importorskip("dlib", reason="face recognition is not installed: pip install 'fertrack[reid]'")
    return fertrack.process_video(clip, tmp_path_factory.mktemp("out"), settings=load_settings([], QUICK))


def person_of(persons: pd.DataFrame, track_ids: tuple[int, ...]) -> str:
    (person,) = (row["person"] for row in persons.to_dict("records") if row["track_ids"] == track_ids)
    return str(person)


def db_of(result: fertrack.ProcessResult) -> list[str]:
    return ["--db", result.database_url]


def test_who_comes_back_after_three_seconds_is_the_same_person(processed: fertrack.ProcessResult) -> None:
    assert processed.summary.tracks == 3
    persons = processed.persons()
    assert persons["person"].tolist() == ["P1", "P2"]
    assert sorted(persons["track_ids"]) == [(1, 3), (2,)]
    with open_database(processed.database_url) as database:
        links = queries.links(database, processed.run)
    assert links["track"].tolist() == [1, 3]
    assert links["similarity"].between(LinkingConfig().accept_similarity, 1.0).all()
    assert "link" in [stage.stage for stage in processed.summary.stages]


def test_names_reach_timeline_report_csv_and_video(processed: fertrack.ProcessResult, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]  # pytest's own fixture
    db = db_of(processed)
    astronaut = person_of(processed.persons(), (1, 3))
    assert run(["person", "rename", "last", astronaut, "Eileen 李", *db]) == 0
    assert capsys.readouterr().out == f"{astronaut} is now called Eileen 李\n"

    assert run(["person", "list", "last", "--format", "json", *db]) == 0
    listed = {row["person"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["Eileen 李"]["track_ids"] == [1, 3]
    assert listed["Eileen 李"]["link"] >= LinkingConfig().accept_similarity

    assert run(["timeline", "last", "--person", "eileen 李", "--format", "json", *db]) == 0
    assert {row["track"] for row in json.loads(capsys.readouterr().out)} == {1, 3}
    assert run(["episodes", "last", "--person", "eileen 李", "--format", "json", *db]) == 0
    assert {row["person"] for row in json.loads(capsys.readouterr().out)} == {"Eileen 李"}
    assert run(["timeline", "last", "--person", "Eileen", *db]) == 1
    assert "did you mean 'Eileen 李'?" in capsys.readouterr().err

    assert run(["report", "last", "-o", str(tmp_path), *db]) == 0
    assert run(["export", "last", "--format", "csv", "-o", str(tmp_path), *db]) == 0
    html, faces, episodes = (Path(line) for line in capsys.readouterr().out.splitlines())
    assert "Eileen 李" in html.read_text(encoding="utf-8")
    assert faces.read_text(encoding="utf-8").count("Eileen 李") == 4 * FPS
    assert "Eileen 李" in episodes.read_text(encoding="utf-8")

    assert run(["render", "last", "-o", str(tmp_path / "drawn.mp4"), *db]) == 0
    with av.open(tmp_path / "drawn.mp4") as drawn, av.open(str(processed.video_path)) as before:
        pictures = [[frame.to_ndarray(format="bgr24") for frame in each.decode(video=0)] for each in (drawn, before)]
        assert [len(each) for each in pictures] == [7 * FPS, 7 * FPS]
    # The same person has one colour before and after the gap, in the run's own video too; by track ID it had two.
    number = int(astronaut.removeprefix("P"))
    for each in pictures:
        for index in (10, 60):
            assert painted(each[index], number) > 4 * painted(each[index], 3 - number)

    assert run(["person", "undo", "last", *db]) == 0
    assert "undone: " in capsys.readouterr().out
    assert processed.persons()["person"].tolist() == ["P1", "P2"]


def painted(picture: np.ndarray, number: int) -> int:
    """Pixels of a person's colour in the left part of a picture, where only the astronaut's box and label are."""
    left = picture[:, :300].reshape(-1, 3).astype(np.int64)
    return int((np.abs(left - person_bgr(number)).max(axis=1) < 30).sum())


def test_merge_split_and_the_log_on_the_command_line(processed: fertrack.ProcessResult, capsys) -> None:  # type: ignore[no-untyped-def]  # pytest's own fixture
    db = db_of(processed)
    owner = person_of(processed.persons(), (1, 3))
    assert run(["person", "split", "last", owner, "3", *db]) == 0
    assert sorted(processed.persons()["track_ids"]) == [(1,), (2,), (3,)]
    assert run(["person", "merge", "last", "P1", "P2", *db]) == 1
    assert "cannot be one person" in capsys.readouterr().err
    assert run(["person", "merge", "last", "ID 1", "ID 3", *db]) == 0
    assert sorted(processed.persons()["track_ids"]) == [(1, 3), (2,)]
    assert run(["person", "undo", "last", *db]) == run(["person", "undo", "last", *db]) == 0
    assert sorted(processed.persons()["track_ids"]) == [(1, 3), (2,)]
    capsys.readouterr()
    assert run(["person", "log", "last", "--format", "csv", *db]) == 0
    assert "ID 3 split from" in capsys.readouterr().out


def test_rendering_says_what_is_missing(processed: fertrack.ProcessResult, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]  # pytest's own fixture
    db = db_of(processed)
    (tmp_path / "there.mp4").write_bytes(b"precious")
    assert run(["render", "last", "-o", str(tmp_path / "there.mp4"), *db]) == 1
    assert "use --overwrite" in capsys.readouterr().err
    assert run(["render", "last", "-o", str(tmp_path), "--source", str(tmp_path / "gone.mp4"), *db]) == 1
    assert "is not at" in capsys.readouterr().err
    wrong = compose(tmp_path / "wrong.mp4", [[]] * 5)
    assert run(["render", "last", "-o", str(tmp_path), "--source", str(wrong), *db]) == 0
    said = capsys.readouterr()
    assert said.out.strip().endswith("run1.returns.annotated.mp4")
    assert "only 5 of 70 frames were drawn" in " ".join(said.err.split())
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), np.zeros((32, 32, 3), np.uint8))
    assert run(["render", "last", "-o", str(tmp_path), "--source", str(small), *db]) == 1
    assert "32x32, but run 1 was of a video of 640x360" in capsys.readouterr().err


def test_only_a_finished_run_of_a_file_can_be_drawn_again(tmp_path: Path) -> None:
    drawn = tmp_path / "drawn.mp4"
    with open_database(tmp_path / "a.db", create=True) as database:
        for path, sentence in (("rtsp://camera/1", "was not of a video file"), ("", "was not of a video file")):
            number = store(database, [result(0, 0.0)], info=replace(INFO, path=path), record=CURRENT)
            with pytest.raises(VideoOpenError, match=sentence):
                render_run(database, number, drawn)
        with DatabaseSink(database, INFO, CURRENT) as sink, pytest.raises(StorageError, match="still being written"):
            render_run(database, sink.run_id, drawn)
    assert not drawn.exists()


def test_a_person_is_recognised_across_files(clip: Path, second_clip: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]  # pytest's own fixture
    pytest.importorskip("dlib", reason="face recognition is not installed: pip install 'fertrack[reid]'")
    options = [option for each in (*QUICK, "video.enabled=false") for option in ("--set", each)]
    files = [str(clip), str(second_clip)]
    assert (
        run(
            [
                "process",
                *files,
                "--set",
                "linking.across=true",
                "--set",
                "linking.store_embeddings=true",
                "-o",
                str(tmp_path),
                "--json",
                *options,
            ]
        )
        == 0
    )
    first, second = json.loads(capsys.readouterr().out)
    (astronaut,) = (person["person"] for person in first["persons"] if person["track_ids"] == [1, 3])
    assert [person["person"] for person in second["persons"]] == [astronaut]

    # the next day, from what is stored
    assert (
        run(["process", str(second_clip), "--set", "linking.across=true", "-o", str(tmp_path), "--json", *options]) == 0
    )
    (third,) = json.loads(capsys.readouterr().out)
    assert [person["person"] for person in third["persons"]] == [astronaut]
    # and forgotten with the person
    db = str(tmp_path / "fertrack.db")
    assert run(["person", "forget", "last", astronaut, "--yes", "--db", db]) == 0
    with open_database(db) as database:
        assert len(load_known(database, build_embedder(recognise=True).fingerprint)) == 1
    capsys.readouterr()
    assert (
        run(["process", str(second_clip), "--set", "linking.across=true", "-o", str(tmp_path), "--json", *options]) == 0
    )
    assert [person["person"] for person in json.loads(capsys.readouterr().out)[0]["persons"]] != [astronaut]


def test_without_the_extra_looks_link_for_seconds_and_the_run_says_so(clip: Path, tmp_path: Path) -> None:
    settings = load_settings([], [*QUICK, "video.enabled=false", "linking.method=appearance"])
    result = fertrack.process_video(clip, tmp_path, settings=settings)
    assert any("looks alone" in note and "the extra [reid]" in note for note in result.summary.notes)
    with open_database(result.database_url) as database:
        assert "looks alone" in " ".join(queries.run_facts(database, result.run).summary.notes)
    assert sorted(result.persons()["track_ids"]) == [(1,), (2,), (3,)], "3 s later and elsewhere: looks cannot say"


def test_off_means_that_nobody_is_anybody(clip: Path, tmp_path: Path) -> None:
    settings = load_settings([], [*QUICK, "video.enabled=false", "linking.method=off"])
    result = fertrack.process_video(clip, tmp_path, settings=settings)
    assert result.persons()["person"].isna().all()
    assert sorted(result.persons()["track_ids"]) == [(1,), (2,), (3,)]


def test_what_needs_face_recognition_is_refused_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build_reidentifier(LinkingConfig(method="off")) is None
    for wish in ({"across": True}, {"store_embeddings": True}):
        with pytest.raises(ConfigError, match="it is off"):
            build_reidentifier(LinkingConfig(method="off", **wish))
        with pytest.raises(MissingExtraError, match=r"pip install .*\[reid\]"):
            build_reidentifier(LinkingConfig(method="appearance", **wish))
    monkeypatch.setattr("fertrack.sinks.reidentifier.can_recognise", lambda: False)
    reidentifier = build_reidentifier(LinkingConfig())
    assert reidentifier is not None
    assert not reidentifier.embedder.recognises


# ---- the sink alone, on scripted faces ----


class FlatEmbedder:
    """Recognises a scripted face by the mean colour of its crop."""

    crop_size = 32
    template = FakeClassifier().template
    fingerprint = "flat"
    recognises = True

    def __init__(self) -> None:
        self.calls = 0

    def embed(self, crops: np.ndarray) -> np.ndarray:
        self.calls += len(crops)
        return crops[:, 12:20, 12:20].reshape(len(crops), -1, 3).mean(axis=1).astype(np.float32) / 100


def scene(*persons: ScenePerson) -> SyntheticScene:
    return SyntheticScene(persons, frame_count=150)


def linked(script: SyntheticScene, sink: ReidSink) -> ReidSink:
    settings = Settings()
    pipeline = fertrack.Pipeline(
        build_pipeline(settings).analyzer.__class__(FakeDetector(script), FakeClassifier()),
        build_pipeline(settings).calibrator,
        tracking=settings.tracking.model_copy(update={"max_age": 5, "max_age_s": 0.0, "rejoin_s": 0.0}),
    )
    pipeline.run(SceneSource(script), [sink])
    return sink


ALWAYS = ScenePerson((80, 120), script=((0.0, "anger"),))
RETURNS = ScenePerson((240, 120), script=((0.0, "happiness"),), visible_s=((0.0, 2.0), (3.0, 6.0)))
LENIENT = LinkingConfig(min_quality=0.0)


def test_two_who_are_always_there_cost_nothing() -> None:
    embedder = FlatEmbedder()
    sink = linked(scene(ALWAYS, ScenePerson((240, 120))), ReidSink(embedder, LENIENT))
    assert sink.plan is not None
    assert [person.tracks for person in sink.plan.persons] == [(1,), (2,)]
    assert embedder.calls == 0


@pytest.mark.parametrize("most", [512, 1])
def test_what_is_kept_in_memory_is_bounded_and_does_not_change_who_is_who(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fertrack.sinks.reid._MAX_CROPS", most)
    sink = linked(scene(ALWAYS, RETURNS), ReidSink(FlatEmbedder(), LENIENT))
    assert sink.plan is not None
    assert [person.tracks for person in sink.plan.persons] == [(1,), (2, 3)]


def test_live_the_one_who_comes_back_is_known_while_the_run_goes_on() -> None:
    class Watch:
        name, needs_image, work_ms = "watch", False, ()

        def __init__(self, sink: ReidSink) -> None:
            self.sink, self.notes, self.known_at = sink, [], {}

        def __enter__(self):  # type: ignore[no-untyped-def]  # a sink of a few lines
            return self

        def write(self, result: FrameResult, image: object) -> None:
            for track in self.sink.persons:
                self.known_at.setdefault(track, result.frame_index)

        def finish(self, summary: RunSummary) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    sink = ReidSink(FlatEmbedder(), LENIENT, live=True)
    watch = Watch(sink)
    settings = Settings()
    script = scene(ALWAYS, RETURNS)
    parts = build_pipeline(settings, live=True)
    pipeline = fertrack.Pipeline(
        type(parts.analyzer)(FakeDetector(script), FakeClassifier()),
        parts.calibrator,
        tracking=settings.tracking.model_copy(update={"max_age": 5, "max_age_s": 0.0, "rejoin_s": 0.0}),
        live=True,
    )
    pipeline.run(SceneSource(script), [sink, watch])
    assert sink.persons == {1: 0, 2: 1, 3: 1}
    assert watch.known_at[3] < 75 + 2 * 25, "within two seconds of coming back"


def test_live_looks_alone_follow_the_rules_of_the_end() -> None:
    class Looks(FlatEmbedder):
        recognises = False

    def came_back(*visible_s: tuple[float, float], config: LinkingConfig = LENIENT) -> bool:
        script = scene(ALWAYS, ScenePerson((240, 120), script=((0.0, "happiness"),), visible_s=visible_s))
        sink = linked(script, ReidSink(Looks(), config, live=True))
        assert sink.plan is not None
        assert sorted(sink.persons) == [1, 2, 3]
        is_one = sink.persons[2] == sink.persons[3]
        assert is_one == (len(sink.plan.persons) == 2), "the live view and the stored run say the same"
        return is_one

    assert came_back((0.0, 2.0), (3.0, 6.0))
    assert not came_back((0.0, 1.0), (4.5, 6.0)), "whoever it is, 3.5 s are too long"
    assert not came_back((0.0, 2.0), (3.0, 6.0), config=LENIENT.model_copy(update={"appearance_gap_s": 0.5}))


def test_stopping_a_live_run_does_not_wait_for_all_faces_and_still_knows_who_came_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = FlatEmbedder()
    assert linked(scene(ALWAYS, RETURNS), ReidSink(whole, LENIENT, live=True)).notes == []
    monkeypatch.setattr("fertrack.sinks.reid._LIVE_END_S", 0.0)
    embedder = FlatEmbedder()
    sink = linked(scene(ALWAYS, RETURNS), ReidSink(embedder, LENIENT, live=True))
    assert sink.plan is not None
    assert [person.tracks for person in sink.plan.persons] == [(1,), (2, 3)]
    assert embedder.calls == 3 * 2 < whole.calls  # the two faces of each track that were compared while it ran
    assert sink.notes == [
        "2 of 2 tracks were linked by less than all their faces, to bound memory and the time that stopping takes: "
        "see fertrack person list, and merge who is the same"
    ]


def test_live_full_memory_never_makes_the_frames_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fertrack.sinks.reid._MAX_LIVE_CROPS", 1)
    monkeypatch.setattr("fertrack.sinks.reid._LIVE_END_S", 0.0)
    asked_from: set[str] = set()

    class Apart(FlatEmbedder):
        in_subprocess = True

        def embed(self, crops: np.ndarray) -> np.ndarray:
            asked_from.add(threading.current_thread().name)
            return super().embed(crops)

    sink = ReidSink(Apart(), LENIENT, live=True)
    with sink:
        linked(scene(ALWAYS, RETURNS), sink)
    assert asked_from == {"fertrack-link_0"}, "never from the thread of the frames"
    assert sink.plan is not None
    assert [person.tracks for person in sink.plan.persons] == [(1,), (2, 3)], "by the faces that were kept"
    assert "to bound memory" in sink.notes[0]


def test_faces_that_cannot_be_recognised_are_counted_in_a_note() -> None:
    sink = linked(scene(ALWAYS, RETURNS), ReidSink(FlatEmbedder(), LinkingConfig(min_quality=1.0)))
    assert sink.plan is not None
    assert [person.tracks for person in sink.plan.persons] == [(1,), (2,), (3,)]
    assert sink.notes == [
        "2 of 3 tracks show no face large, frontal and sharp enough to be recognised: each counts as a person"
    ]


def test_a_failed_run_links_nothing() -> None:
    sink = ReidSink(FlatEmbedder())
    sink.finish(RunSummary("failed", 0, 0, 0, 0, 0, 0.0, 0.0))
    assert (sink.plan, sink.tracklets, sink.notes) == (None, [], [])


def test_a_picture_is_needed() -> None:
    with pytest.raises(ValueError, match="image must be given"):
        ReidSink(FlatEmbedder()).write(None, None)  # type: ignore[arg-type]  # on purpose

"""Scores of tracks: the reader, scenes small enough to do by hand, the command, and the published values."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fertrack.benchmarks.tracker_ablation import TUNED_ON
from fertrack.cli.main import run
from fertrack.config import load_settings
from fertrack.errors import EvaluationError, MissingExtraError
from fertrack.evaluation.tracking.mot import MotRows, find_sequences, read_ground_truth, read_mot
from fertrack.evaluation.tracking.scores import TOGETHER, SequenceResult, evaluate, run_tracker, score
from fertrack.reporting.exports.mot import to_mot
from fertrack.storage.engine import open_database
from fertrack.tracking.tracker import PLAIN_SORT, TrackerConfig
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run

pytest.importorskip("trackeval", reason="needs fertrack[eval]")


def rows(entries: list[tuple[int, int, float]], size: float = 40.0) -> MotRows:
    """Square boxes: (frame, ID, left)."""
    frame, track, left = (np.array(column) for column in zip(*sorted(entries), strict=True))
    low = np.stack([left, np.full(len(left), 100.0)], axis=1).astype(float)
    return MotRows(frame, track, np.hstack([low, low + size]), np.ones(len(left)))


def write(path: Path, entries: list[tuple[int, int, float]], flag: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{frame},{track},{left},100,40,40,{flag},-1,-1,-1\n" for frame, track, left in entries))
    return path


TWO_PEOPLE = [(frame, person, 200.0 * person + frame) for frame in range(1, 11) for person in (1, 2)]


class TestReading:
    def test_boxes_frames_and_confidence(self, tmp_path: Path) -> None:
        path = tmp_path / "det.txt"
        path.write_text("\ufeff2, -1, 10.5, 20, 30, 40, 0.75, -1, -1, -1\n\n1,-1,0,0,5,5,0.5\n", encoding="utf-8")
        read = read_mot(path)
        assert (read.frame.tolist(), read.track.tolist(), read.confidence.tolist()) == ([1, 2], [-1, -1], [0.5, 0.75])
        assert read.xyxy.tolist() == [[0, 0, 5, 5], [10.5, 20, 40.5, 60]]
        assert (read.last_frame, read.has_tracks) == (2, False)
        assert [len(part) for part in read.per_frame(4)] == [1, 1, 0, 0]

    def test_without_confidence_it_is_one(self, tmp_path: Path) -> None:
        path = tmp_path / "tracks.txt"
        path.write_text("1,1,0,0,5,5\n")
        assert read_mot(path).confidence.tolist() == [1.0]

    def test_truth_leaves_out_what_is_marked_to_be_ignored(self, tmp_path: Path) -> None:
        path = tmp_path / "gt.txt"
        path.write_text("1,1,0,0,5,5,1,1,0.1\n1,2,9,0,5,5,0,1,0.9\n2,1,0,0,5,5,1,1,1\n")
        assert read_ground_truth(path).track.tolist() == [1, 1]

    def test_an_empty_file_is_no_boxes(self, tmp_path: Path) -> None:
        path = tmp_path / "det.txt"
        path.write_text("")
        assert (len(read_mot(path)), read_mot(path).last_frame) == (0, 0)

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("1,1,0,0,5\n", r"line 1: expected frame,id,left,top,width,height"),
            ("1,1,0,0,5,5,1\n1,one,0,0,5,5,1\n", r"line 2: could not convert string to float: 'one'"),
            ("1,1,nan,0,5,5,1\n", r"line 1: expected"),
            ("0,1,0,0,5,5,1\n", r"frames count from 1.*there is a frame 0"),
            ("3,7,0,0,5,5,1\n3,7,9,0,5,5,1\n", r"ID 7 has more than one box in frame 3"),
        ],
    )
    def test_what_is_wrong_is_one_sentence(self, tmp_path: Path, text: str, sentence: str) -> None:
        path = tmp_path / "bad.txt"
        path.write_text(text)
        with pytest.raises(EvaluationError, match=sentence):
            read_mot(path)

    def test_a_missing_or_binary_file(self, tmp_path: Path) -> None:
        (tmp_path / "video.mp4").write_bytes(b"\xff\xfe\x00\x81")
        for name in ("none.txt", "video.mp4"):
            with pytest.raises(EvaluationError, match=rf"{name} cannot be read as MOTChallenge text"):
                read_mot(tmp_path / name)


class TestFinding:
    @pytest.fixture
    def challenge(self, tmp_path: Path) -> Path:
        """Two sequences as they are published."""
        for name in ("A", "B"):
            write(tmp_path / "mot" / name / "gt" / "gt.txt", TWO_PEOPLE)
            write(tmp_path / "mot" / name / "det" / "det.txt", [(f, -1, x) for f, _, x in TWO_PEOPLE])
            (tmp_path / "mot" / name / "seqinfo.ini").write_text("[Sequence]\nname=x\nseqLength=12\n")
        return tmp_path / "mot"

    def test_a_folder_of_sequences_stands_for_all_of_them(self, challenge: Path) -> None:
        found = find_sequences(challenge, [])
        assert [(f.name, f.frames) for f in found] == [("A", 12), ("B", 12)]
        assert found[1].boxes == challenge / "B" / "det" / "det.txt"
        assert found == find_sequences(challenge, [challenge / "A", challenge / "B"])

    def test_one_sequence_by_its_folder_or_its_files(self, challenge: Path) -> None:
        by_folder = find_sequences(challenge / "A", [])
        by_files = find_sequences(challenge / "A" / "det" / "det.txt", [challenge / "A" / "gt" / "gt.txt"])
        assert by_folder == by_files
        assert len(by_folder) == 1

    def test_a_folder_of_tracks_named_like_the_sequences(self, challenge: Path, tmp_path: Path) -> None:
        write(tmp_path / "results" / "A.txt", TWO_PEOPLE)
        assert find_sequences(tmp_path / "results", [challenge / "A"])[0].boxes == tmp_path / "results" / "A.txt"
        with pytest.raises(EvaluationError, match=r"no boxes for B: .*results.B\.txt and .* are not there"):
            find_sequences(tmp_path / "results", [challenge])

    def test_what_cannot_be_told_apart_is_said(self, challenge: Path, tmp_path: Path) -> None:
        with pytest.raises(EvaluationError, match=r"is one file, but there are 2 ground truths"):
            find_sequences(challenge / "A" / "det" / "det.txt", [challenge])
        with pytest.raises(EvaluationError, match=r"no ground truth at .*nowhere"):
            find_sequences(challenge, [tmp_path / "nowhere"])
        with pytest.raises(EvaluationError, match=r"no such file or folder: .*nowhere"):
            find_sequences(tmp_path / "nowhere", [challenge])
        (challenge / "A" / "seqinfo.ini").write_text("[Sequence]\n")
        with pytest.raises(EvaluationError, match=r"seqinfo\.ini does not say how many frames"):
            find_sequences(challenge, [])


class TestScores:
    def test_the_truth_itself_is_perfect(self) -> None:
        (scores,) = score([SequenceResult("scene", rows(TWO_PEOPLE), rows(TWO_PEOPLE))])
        assert (scores.mota, scores.motp, scores.idf1, scores.hota, scores.det_a, scores.ass_a) == (1,) * 6
        assert (scores.switches, scores.fragmentations, scores.missed, scores.false) == (0, 0, 0, 0)
        assert (scores.mostly_tracked, scores.mostly_lost, scores.people, scores.boxes) == (2, 0, 2, 20)

    def test_one_swap_in_the_middle(self) -> None:
        swapped = [(f, 3 - p if f > 5 else p, x) for f, p, x in TWO_PEOPLE]
        (scores,) = score([SequenceResult("scene", rows(swapped), rows(TWO_PEOPLE))])
        assert (scores.switches, scores.mota) == (2, 1 - 2 / 20)
        assert (scores.idf1, scores.det_a) == (0.5, 1.0)
        assert scores.ass_a == pytest.approx(5 / 15), "each pair shares 5 of the 15 boxes of both"
        assert scores.hota == pytest.approx((5 / 15) ** 0.5)

    def test_misses_false_boxes_and_a_gap(self) -> None:
        tracked = [(f, p, x) for f, p, x in TWO_PEOPLE if p == 1 and f not in (4, 5)] + [(4, 9, 900.0), (5, 9, 900.0)]
        (scores,) = score([SequenceResult("scene", rows(tracked), rows(TWO_PEOPLE))])
        assert (scores.missed, scores.false, scores.fragmentations, scores.switches) == (12, 2, 1, 0)
        assert scores.mota == pytest.approx(1 - 14 / 20)
        assert scores.idf1 == pytest.approx(2 * 8 / (20 + 10))
        assert (scores.mostly_tracked, scores.mostly_lost) == (0, 1)

    def test_overlap_of_the_boxes_found(self) -> None:
        moved = [(f, p, x + 10) for f, p, x in TWO_PEOPLE]
        (scores,) = score([SequenceResult("scene", rows(moved), rows(TWO_PEOPLE))])
        assert scores.motp == pytest.approx(30 / 50)

    def test_boxes_without_an_id_do_not_count(self) -> None:
        tracked = [*TWO_PEOPLE, *((f, -1, 900.0) for f in range(1, 30))]
        assert score([SequenceResult("scene", rows(tracked), rows(TWO_PEOPLE))])[0].mota == 1.0

    def test_no_tracks_at_all(self) -> None:
        nothing = rows(TWO_PEOPLE).at(slice(0, 0))
        (scores,) = score([SequenceResult("scene", nothing, rows(TWO_PEOPLE))])
        assert (scores.mota, scores.idf1, scores.hota, scores.missed, scores.mostly_lost) == (0, 0, 0, 20, 2)

    def test_together_weighs_by_boxes(self) -> None:
        half = [(f, p, x) for f, p, x in TWO_PEOPLE if p == 1]
        truth, short = rows(TWO_PEOPLE), rows([(f, p, x) for f, p, x in TWO_PEOPLE if f == 1])
        scores = score([SequenceResult("long", rows(half), truth), SequenceResult("short", short, short)])
        assert [s.sequence for s in scores] == ["long", "short", TOGETHER]
        assert scores[-1].mota == pytest.approx(1 - 10 / 22)
        assert (scores[-1].people, scores[-1].boxes) == (4, 22)

    def test_names_must_differ(self) -> None:
        result = SequenceResult("scene", rows(TWO_PEOPLE), rows(TWO_PEOPLE))
        with pytest.raises(ValueError, match="two sequences are called scene"):
            score([result, result])

    def test_the_missing_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "trackeval", None)
        with pytest.raises(MissingExtraError, match=r"pip install .*\[eval\]"):
            evaluate([], TrackerConfig())


class TestOurTracker:
    def test_a_tracks_first_rows_have_its_id_too(self) -> None:
        found = run_tracker(rows([(f, -1, x) for f, _, x in TWO_PEOPLE]), TrackerConfig(min_hits=3))
        assert len(found) == len(TWO_PEOPLE)
        assert sorted(set(found.track.tolist())) == [1, 2]
        assert found.frame.tolist() == sorted(found.frame.tolist())

    def test_as_published_they_have_not(self) -> None:
        late = [(f, -1, 10.0) for f in range(1, 11)] + [(f, -1, 300.0) for f in range(6, 11)]
        found = run_tracker(rows(late), PLAIN_SORT)
        assert [(f, t) for f, t in zip(found.frame.tolist(), found.track.tolist(), strict=True) if t == 2] == [
            (9, 2),
            (10, 2),
        ]

    def test_frames_without_boxes_count(self) -> None:
        gap = [(f, -1, 10.0) for f in (*range(1, 6), *range(30, 35))]
        assert set(run_tracker(rows(gap), TrackerConfig(max_age=5, max_age_s=0.0, rejoin_s=0.0)).track.tolist()) == {
            1,
            2,
        }
        assert set(run_tracker(rows(gap), TrackerConfig(max_age=30)).track.tolist()) == {1}

    def test_nothing_in_nothing_out(self) -> None:
        assert len(run_tracker(rows(TWO_PEOPLE).at(slice(0, 0)), TrackerConfig(), frames=5)) == 0

    def test_the_published_preset_is_a_config_file_too(self) -> None:
        assert load_settings(["plain_sort"]).tracking == PLAIN_SORT


class TestCommand:
    def test_tracks_are_scored_as_they_are(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        tracks = write(tmp_path / "tracks.txt", [(f, 3 - p if f > 5 else p, x) for f, p, x in TWO_PEOPLE])
        truth = write(tmp_path / "scene_gt.txt", TWO_PEOPLE)
        assert run(["evaluate", "tracking", str(tracks), str(truth), "--json"]) == 0
        (scores,) = json.loads(capsys.readouterr().out)
        assert (scores["sequence"], scores["switches"], scores["idf1"]) == ("scene", 2, 0.5)

    def test_detections_are_tracked_first_with_the_options_given(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        detections = write(tmp_path / "det.txt", [(f, -1, x) for f, _, x in TWO_PEOPLE])
        truth = write(tmp_path / "gt.txt", TWO_PEOPLE)
        arguments = ["evaluate", "tracking", str(detections), str(truth), "--json"]
        assert run(arguments) == 0
        assert json.loads(capsys.readouterr().out)[0]["idf1"] == pytest.approx(1.0)
        assert run([*arguments, "--set", "tracking.min_hits=11"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["missed"] == 20

    def test_tracks_may_be_tracked_again(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        tracks = write(tmp_path / "tracks.txt", [(f, 100 * f + p, x) for f, p, x in TWO_PEOPLE])
        truth = write(tmp_path / "gt.txt", TWO_PEOPLE)
        for option, switches in (([], 18), (["--run-tracker"], 0)):
            assert run(["evaluate", "tracking", str(tracks), str(truth), "--json", *option]) == 0
            assert json.loads(capsys.readouterr().out)[0]["switches"] == switches

    def test_the_table_has_a_row_for_each_and_one_for_all(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("A", "B"):
            write(tmp_path / name / "gt" / "gt.txt", TWO_PEOPLE)
            write(tmp_path / name / "det" / "det.txt", [(f, -1, x) for f, _, x in TWO_PEOPLE])
        assert run(["evaluate", "tracking", str(tmp_path)]) == 0
        lines = capsys.readouterr().out.strip().splitlines()
        assert [line.split()[0] for line in lines] == ["sequence", "A", "B", "together"]
        assert "HOTA" in lines[0]

    def test_a_missing_file_is_one_sentence(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["evaluate", "tracking", str(tmp_path / "none.txt"), str(tmp_path)]) == 1
        assert capsys.readouterr().err.startswith("error: no ground truth at")


class TestExport:
    def test_what_is_exported_reads_back_as_the_same_tracks(self, tmp_path: Path) -> None:
        timeline = pd.DataFrame(
            {
                "frame_index": [1, 0, 1],
                "track": [2, 1, 1],
                "x1": [5.25, 0.0, 1.0],
                "y1": [6.0, 0.0, 1.0],
                "x2": [25.25, 10.0, 11.5],
                "y2": [36.0, 20.0, 21.0],
                "score": [0.5, 0.875, 1.0],
                "label": ["neutral"] * 3,
            }
        )
        text = to_mot(timeline)
        assert text.splitlines()[2] == "2,2,5.25,6.00,20.00,30.00,0.5000,-1,-1,-1"
        path = tmp_path / "tracks.txt"
        path.write_text(text)
        read = read_mot(path)
        assert (read.frame.tolist(), read.track.tolist()) == ([1, 2, 2], [1, 1, 2])
        assert read.xyxy.tolist() == [[0, 0, 10, 20], [1, 1, 11.5, 21], [5.25, 6, 25.25, 36]]
        assert read.confidence.tolist() == [0.875, 1.0, 0.5]

    def test_no_rows_are_no_lines(self) -> None:
        columns = ["frame_index", "track", "x1", "y1", "x2", "y2", "score"]
        assert to_mot(pd.DataFrame({name: [] for name in columns})) == ""

    def test_a_stored_run_is_exported_by_the_command(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        url = str(tmp_path / "runs.db")
        with open_database(url, create=True) as database:
            persons = [ScriptedPerson(seen_s=[(0.0, 1.0)]), ScriptedPerson(seen_s=[(0.5, 2.0)])]
            store_run(database, ScriptedRun(persons))
        assert run(["export", "last", "--format", "mot", "--db", url, "-o", str(tmp_path)]) == 0
        path = Path(capsys.readouterr().out.strip())
        read = read_mot(path)
        assert np.unique(read.track, return_counts=True)[1].tolist() == [25, 37]
        assert read.frame[0] == 1


@pytest.mark.shared
class TestPublishedValues:
    """MOT15, six training sequences with the detections published with SORT's paper."""

    def test_plain_sort_scores_as_published(self, shared_data: Path) -> None:
        scores = {s.sequence: s for s in evaluate(find_sequences(shared_data / "mot", []), PLAIN_SORT)}
        assert len(scores) == 7
        for name, published in {"TUD-Campus": 62.7, "ETH-Sunnyday": 59.1, "KITTI-17": 60.2}.items():
            assert 100 * scores[name].mota == pytest.approx(published, abs=1.5), name
        together = scores[TOGETHER]
        assert together.mota >= 0.53
        measured: dict[str, Any] = {"idf1": 0.491, "switches": 225}
        assert {"idf1": round(together.idf1, 3), "switches": together.switches} == measured

    def test_the_default_tracker_is_better_on_every_score(self, shared_data: Path) -> None:
        sequences = find_sequences(shared_data / "mot", [])
        ours, plain = evaluate(sequences, TrackerConfig())[-1], evaluate(sequences, PLAIN_SORT)[-1]
        assert ours.mota >= 0.545
        assert ours.idf1 >= 0.60
        assert ours.switches <= 150
        assert ours.hota > plain.hota + 0.03
        assert ours.mostly_lost <= plain.mostly_lost

    def test_it_is_so_on_the_sequences_it_was_not_tuned_on_too(self, shared_data: Path) -> None:
        kept_apart = [s for s in find_sequences(shared_data / "mot", []) if s.name not in TUNED_ON]
        assert len(kept_apart) == 3
        ours, plain = evaluate(kept_apart, TrackerConfig())[-1], evaluate(kept_apart, PLAIN_SORT)[-1]
        assert ours.mota > plain.mota
        assert ours.switches < plain.switches

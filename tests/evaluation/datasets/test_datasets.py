"""Labelled pictures: every layout is read as it is, and what a classifier is asked is what is described."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from fertrack.classifiers import build_classifier
from fertrack.classifiers.config import ClassificationConfig
from fertrack.detectors.config import DetectionConfig
from fertrack.errors import ConfigError, EvaluationError
from fertrack.evaluation.datasets.ferplus import load_ferplus
from fertrack.evaluation.datasets.open import LabelledSet, expression_index, label_names, read_labelled
from fertrack.evaluation.expression.classify import as_crop, classify_readable, classify_set, detection_for
from fertrack.imaging.alignment import align_faces
from fertrack.pipeline.analyzer import FaceAnalyzer, crop_logits
from fertrack.types import EXPRESSIONS, Detections, Frame
from tests.evaluation.expression.test_measures import FixedDetector, voted
from tests.support.classifier_bundles import landmark_attention, write_card

FERPLUS_HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def picture(path: Path, level: int = 128, side: int = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((side, side, 3), level, np.uint8))
    return path


def names(found: LabelledSet) -> list[str]:
    return label_names(found.labels)


class Mirror:
    """Answers with the crop's mean level as the first logit, so that what was cropped can be seen."""

    crop_size = 8
    template = np.array([[2, 3], [6, 3], [4, 4], [3, 6], [5, 6]], np.float32)
    fingerprint = "mirror"

    def logits(self, crops: np.ndarray) -> np.ndarray:
        assert crops.shape[1:] == (8, 8, 3)
        answers = np.zeros((len(crops), 7), np.float32)
        answers[:, 0] = crops.mean(axis=(1, 2, 3))
        return answers


# Layouts ------------------------------------------------------------------------------------------------------------


def test_a_folder_of_sub_folders_with_other_words_and_other_classes(tmp_path: Path) -> None:
    for place in ("Happy/a.png", "angry/deep/b.png", "neutral/c.jpg", "contempt/d.png"):
        picture(tmp_path / place)
    (tmp_path / "neutral" / "notes.txt").write_text("not a picture")
    found = read_labelled(tmp_path)
    assert sorted(zip([path.name for path in found.paths], names(found), strict=True)) == [
        ("a.png", "happiness"),
        ("b.png", "anger"),
        ("c.jpg", "neutral"),
    ]
    assert found.left_out == {"in contempt/, which is no expression": 1}
    assert not found.has_votes


def test_sub_folders_numbered_1_to_7_are_in_raf_dbs_order(tmp_path: Path) -> None:
    for number in range(1, 8):
        picture(tmp_path / "test" / str(number) / "a.png", number)
    found = read_labelled(tmp_path, split="test")
    assert names(found) == list(EXPRESSIONS)
    with pytest.raises(EvaluationError, match="--split names a sub-folder"):
        read_labelled(tmp_path, split="valid")


def test_parts_are_named_where_one_must_be_chosen(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "sad" / "a.png")
    picture(tmp_path / "valid" / "sad" / "a.png")
    with pytest.raises(EvaluationError, match="choose one with --split train or --split valid"):
        read_labelled(tmp_path)
    assert names(read_labelled(tmp_path, split="valid")) == ["sadness"]


@pytest.mark.parametrize(
    ("listed", "pictures"),
    [("list_partition_label.txt", "aligned"), ("EmoLabel/list_patition_label.txt", "Image/aligned")],
)
def test_raf_db_as_published(tmp_path: Path, listed: str, pictures: str) -> None:
    (tmp_path / listed).parent.mkdir(exist_ok=True)
    (tmp_path / listed).write_text("train_00001.jpg 5\ntest_0001.jpg 1\ntest_0002.jpg 7\n")
    for name in ("train_00001", "test_0001", "test_0002"):
        picture(tmp_path / pictures / f"{name}_aligned.jpg", side=100)
    assert names(read_labelled(tmp_path)) == ["surprise", "neutral"]
    assert names(read_labelled(tmp_path, split="train")) == ["sadness"]
    (tmp_path / listed).write_text("test_0001.jpg eight\n")
    with pytest.raises(EvaluationError, match="line 1: an image's name and a label from 1 to 7"):
        read_labelled(tmp_path)


def test_raf_db_without_pictures_is_said(tmp_path: Path) -> None:
    (tmp_path / "list_partition_label.txt").write_text("test_0001.jpg 1\n")
    with pytest.raises(EvaluationError, match="no aligned/"):
        read_labelled(tmp_path)
    (tmp_path / "aligned").mkdir()
    with pytest.raises(EvaluationError, match="no part 'val': its parts are test"):
        read_labelled(tmp_path, split="val")
    sentence = r"test_0001\.jpg is not there, but list_partition_label\.txt lists it: copy it into .*aligned"
    with pytest.raises(EvaluationError, match=sentence) as caught:
        read_labelled(tmp_path)
    assert "--pictures" not in str(caught.value), "that is for CSV files"


def test_affectnet_as_published(tmp_path: Path) -> None:
    header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    lines = ["103/a.jpg,10,20,30,40,1;2;3,1,0.5,0.5", "103/b.jpg,0,0,9,9,1;2,6,0,0", "103/c.jpg,0,0,9,9,,7,0,0"]
    (tmp_path / "validation.csv").write_text("\n".join([header, *lines]) + "\n")
    for name in "abc":
        picture(tmp_path / "all" / "103" / f"{name}.jpg")
    found = read_labelled(tmp_path / "validation.csv", pictures=tmp_path / "all")
    assert names(found) == ["happiness", "anger"]
    assert found.xyxy.tolist() == [[10, 20, 40, 60], [0, 0, 9, 9]]
    assert found.left_out == {"contempt, none, uncertain or no face": 1}


def test_affectnet_as_shipped_without_a_header(tmp_path: Path) -> None:
    landmarks = ";".join(str(number / 4) for number in range(136))
    lines = [
        f"103/a.jpg,10,20,30,40,{landmarks},1,0.5,0.5",
        f"103/b.JPG,0,0,9,9,{landmarks},6,-0.3,0",
        "103/c.jpg,NULL,NULL,NULL,NULL,NULL,10,-2,-2",
    ]
    (tmp_path / "validation.csv").write_text("\n".join(lines) + "\n")
    for name in ("a.jpg", "b.JPG", "c.jpg"):
        picture(tmp_path / "103" / name)
    found = read_labelled(tmp_path / "validation.csv")
    assert (found.kind, names(found)) == ("AffectNet", ["happiness", "anger"])
    assert found.xyxy.tolist() == [[10, 20, 40, 60], [0, 0, 9, 9]]
    assert found.left_out == {"contempt, none, uncertain or no face": 1}
    (tmp_path / "validation.csv").write_text("\n".join([*lines, lines[0].replace(",1,0.5", ",x,0.5")]) + "\n")
    with pytest.raises(EvaluationError, match="row 4: expression 'x' is no number"):
        read_labelled(tmp_path / "validation.csv")


def test_ferplus_votes_with_pictures_in_its_folders_or_in_fer2013s_pixels(tmp_path: Path) -> None:
    rows = [
        "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0",
        "PublicTest,fer0028638.png,0,9,1,0,0,0,0,0,0,0",
        "PublicTest,,0,0,0,0,0,0,0,0,0,10",
        "PublicTest,fer0028640.png,5,5,0,0,0,0,0,0,0,0",
    ]
    path = tmp_path / "fer2013new.csv"
    path.write_text("\n".join([FERPLUS_HEADER, *rows]) + "\n")
    with pytest.raises(EvaluationError, match=r"put fer2013\.csv beside it"):
        read_labelled(path)
    levels = [10, 20, 30, 40]
    pixels = "\n".join(
        f"{emotion},{' '.join([str(level)] * 48 * 48)},{row.split(',')[0]}"
        for emotion, level, row in zip([0, 3, 6, 4], levels, rows, strict=True)
    )
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n{pixels}\n")
    found = read_labelled(path)
    assert names(found) == ["happiness", "neutral"]
    assert found.tied.tolist() == [False, True]
    assert found.votes[0].tolist() == pytest.approx([0.1, 0, 0, 0.9, 0, 0, 0])
    assert [int(found.image(row)[0, 0, 0]) for row in range(2)] == [20, 40]
    assert found.left_out == {"not on one of the seven, or of too few votes": 1}
    assert names(read_labelled(tmp_path / "fer2013.csv")) == ["happiness", "neutral", "sadness"]
    for name, level in (("fer0028638", 77), ("fer0028640", 78)):
        picture(tmp_path / "FER2013Valid" / f"{name}.png", level)
    assert int(read_labelled(path).image(1)[0, 0, 0]) == 78
    with pytest.raises(EvaluationError, match="no part 'Valid': its parts are"):
        read_labelled(path, split="Valid")


def test_a_list_of_our_own(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    path = tmp_path / "list.csv"
    path.write_text("path;label;x1;y1;x2;y2;split\na.png;Happy;1;2;3;4;test\nb.png;bored;;;;;test\nb.png;fear;;;;;x\n")
    found = read_labelled(path, split="test")
    assert names(found) == ["happiness"]
    assert found.xyxy.tolist() == [[1, 2, 3, 4]]
    assert found.left_out == {"labelled bored": 1}
    assert np.isnan(read_labelled(path, split="x").xyxy).all()


def test_arrays(tmp_path: Path) -> None:
    images = np.arange(4 * 6 * 6, dtype=np.uint8).reshape(4, 6, 6)
    path = tmp_path / "set.npz"
    parts = {"split": np.array([0, 0, 1, 1]), "split_names": np.array(["train", "test"])}
    np.savez(path, images=images, labels=np.array([0, 1, 0, 1]), class_names=np.array(["sad", "bored"]), **parts)
    assert names(read_labelled(path)) == ["sadness", "sadness"]
    test = read_labelled(path, split="test")
    assert test.left_out == {"of other classes": 1}
    np.testing.assert_array_equal(test.image(0)[..., 1], images[2])
    with pytest.raises(EvaluationError, match="no part 'dev': its parts are train, test"):
        read_labelled(path, split="dev")
    found = read_labelled(voted(tmp_path))
    assert names(found) == ["neutral", "neutral", "fear"]
    assert found.has_votes
    with pytest.raises(EvaluationError, match="no images of the part 'nothing': its parts are Training, PublicTest"):
        read_labelled(voted(tmp_path), split="nothing")
    words = np.array(["fear", "bored", "happy", "fear"])
    np.savez(path, images=images, labels=words)
    assert names(read_labelled(path)) == ["fear", "happiness", "fear"]


ARRAYS = {"images": np.zeros((9, 6, 6), np.uint8), "labels": np.arange(9) % 7}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": np.arange(9) / 2}, "whole numbers from 0"),
        ({"labels": np.arange(9) > 4}, "whole numbers from 0"),
        ({"labels": np.full(9, np.nan)}, "whole numbers from 0"),
        ({"labels": np.array([None] * 9)}, "no npz file of plain arrays, or it is damaged"),
        ({"images": np.zeros((9, 6, 6, 4), np.uint8)}, r"images must be uint8 .* got uint8 \(9, 6, 6, 4\)"),
        ({"images": np.zeros((9, 6, 6, 1), np.uint8)}, "images must be uint8"),
        ({"images": np.zeros((9, 0, 6), np.uint8)}, "images must be uint8"),
        ({"split": np.zeros(3, int), "split_names": np.array(["a"])}, r"split must be \(9,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_one_sentence(tmp_path: Path, changes: dict, sentence: str) -> None:
    np.savez(tmp_path / "set.npz", **{**ARRAYS, **changes})
    with pytest.raises(EvaluationError, match=sentence):
        read_labelled(tmp_path / "set.npz", split="a" if "split" in changes else "")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"text", "array", "half"])
def test_a_damaged_file_of_arrays_is_one_sentence(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, **ARRAYS)
    if content == "array":
        with path.open("wb") as file:
            np.save(file, ARRAYS["images"])
    else:
        path.write_bytes(path.read_bytes()[:300] if isinstance(content, str) else content)
    with pytest.raises(EvaluationError, match="no npz file of plain arrays, or it is damaged"):
        read_labelled(path)
    with pytest.raises(ConfigError, match="or it is damaged"):
        load_ferplus(path)


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("ferplus_votes", lambda votes: np.where(votes < 0, np.nan, votes), r"whole numbers \(8, 10\)"),
        ("ferplus_votes", lambda votes: votes[:, :9], r"whole numbers \(8, 10\)"),
        ("ferplus_votes", lambda votes: votes[:3], r"whole numbers \(8, 10\)"),
        ("split", lambda split: split[:3], r"split \(8,\)"),
        ("images", lambda images: images.astype(float), "images must be uint8"),
        ("ferplus_vote_names", lambda names: np.array(["calm", *names[1:]]), "missing: neutral"),
    ],
)
def test_votes_that_do_not_fit_are_one_sentence(tmp_path: Path, name: str, change, sentence: str) -> None:
    with np.load(voted(tmp_path)) as stored:
        arrays = {each: stored[each] for each in stored.files}
    np.savez(tmp_path / "odd.npz", **{**arrays, name: change(arrays[name])})
    with pytest.raises(EvaluationError, match=sentence):
        read_labelled(tmp_path / "odd.npz")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("list.csv", "name,label\na.png,fear\n", "needs the columns path and label"),
        ("list.csv", "path,label\nmissing.png,fear\n", "missing.png is not there"),
        ("list.csv", "path,label,x1,y1,x2,y2\na.png,fear,1,2,3,x\n", "row 2: x1, y1, x2, y2 must be four numbers"),
        ("list.csv", "path,label\na.png,bored\n", r"no image labelled .*1 labelled bored"),
        ("list.csv", 'path,label\n"a.png,fear\n', "cannot be read as CSV"),
        ("a.csv", "subDirectory_filePath,expression\na.png,happy\n", "no number from 0 to 10"),
        ("a.csv", "emotion,pixels\n9,0 0\n", "no number from 0 to 6"),
        ("a.csv", "emotion,pixels\n1,0 0\n", "48 x 48 pixels"),
        ("a.csv", f"{FERPLUS_HEADER}\nPublicTest,a.png,x,0,0,0,0,0,0,0,0,0\n", "a vote is no whole number"),
        ("list.csv", "path,label,x1,y1,x2,y2\na.png,fear,30,3,1,9\n", "give no box: 30, 3, 1, 9"),
        ("list.csv", "path,label,x1,y1,x2,y2\na.png,fear,nan,1,inf,9\n", "give no box: nan, 1, inf, 9"),
        ("list.csv", "path,label\n,fear\n", "row 2: the path is empty"),
        ("list.csv", "path,label\n", "and rows: it has none"),
        ("a.csv", "emotion,pixels\n-1,0 0\n", "no number from 0 to 6"),
        ("a.npz", "no", "cannot be read as labelled images"),
        ("a.txt", "", "no labelled set"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(EvaluationError, match=sentence):
        read_labelled(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "split", "sentence"),
    [
        ("path,label,split\na.png,fear,test\n", "dev", "no part 'dev': its parts are test"),
        ("path,label\na.png,fear\n", "test", "no part 'test': its parts are not named"),
        ("emotion,pixels,Usage\n1,0 0,Training\n", "PublicTest", "no part 'PublicTest': its parts are Training"),
        (f"{FERPLUS_HEADER}\nTraining,a.png,0,0,0,0,0,0,9,0,0,0\n", "x", "no part 'x': its parts are Training"),
        ("subDirectory_filePath,expression\na.png,1\n", "test", "parts are files of their own"),
    ],
)
def test_a_part_that_is_not_there_is_named(tmp_path: Path, text: str, split: str, sentence: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(EvaluationError, match=sentence):
        read_labelled(tmp_path / "a.csv", split=split)


def test_columns_are_known_however_they_are_written(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.csv").write_text("Path, Label\na.png,Fear\n")
    assert names(read_labelled(tmp_path / "a.csv")) == ["fear"]
    header = "SubDirectory_FilePath,Face_X,Face_Y,Face_Width,Face_Height,Expression"
    (tmp_path / "a.csv").write_text(f"{header}\na.png,NULL,NULL,NULL,NULL,1\n")
    found = read_labelled(tmp_path / "a.csv")
    assert names(found) == ["happiness"]
    assert np.isnan(found.xyxy).all()


def test_pictures_without_sub_folders_are_said(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(EvaluationError, match="sort them into folders such as"):
        read_labelled(tmp_path)


def test_a_box_beside_the_picture_is_said(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.csv").write_text("path,label,x1,y1,x2,y2\na.png,fear,200,200,260,260\n")
    with pytest.raises(EvaluationError, match=r"a.png is 60 x 60 px, and the box .* lies outside it"):
        classify_set(read_labelled(tmp_path / "a.csv"), Mirror())


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="there is no"):
        read_labelled(tmp_path / "nothing")
    np.savez(tmp_path / "odd.npz", images=np.zeros((2, 4, 4), np.float32), labels=np.zeros(2, int))
    with pytest.raises(EvaluationError, match="images must be uint8"):
        read_labelled(tmp_path / "odd.npz")
    np.savez(tmp_path / "odd.npz", images=np.zeros((2, 4, 4), np.uint8), labels=np.array([0, 7]))
    with pytest.raises(EvaluationError, match="indices into the 7 class_names"):
        read_labelled(tmp_path / "odd.npz")
    (tmp_path / "sad").mkdir()
    (tmp_path / "sad" / "a.png").write_text("no picture")
    for content in (b"no picture", b""):
        (tmp_path / "sad" / "a.png").write_bytes(content)
        with pytest.raises(EvaluationError, match=r"a\.png is not an image that can be read"):
            read_labelled(tmp_path).image(0)


def with_damage(folder: Path, damaged: tuple[int, ...], count: int = 40) -> LabelledSet:
    """Pictures of two classes, of which some are cut off in the middle, empty, or gone by the time they are read."""
    for number in range(count):
        picture(folder / ("sad" if number % 2 else "happy") / f"{number:02d}.png", number)
    labelled = read_labelled(folder)
    for place, row in enumerate(damaged):
        content = labelled.paths[row].read_bytes()
        labelled.paths[row].write_bytes(content[: (len(content) // 2, 0)[place % 2]])
    return labelled


def test_unreadable_pictures_are_left_out_counted_and_named(tmp_path: Path) -> None:
    labelled = with_damage(tmp_path, (0, 7, 25, 39))
    before = classify_set(with_damage(tmp_path / "whole", ()), Mirror())
    assert detection_for(labelled, DetectionConfig()).long_side == 224, "the first picture that can be read says it"
    readable, answers = classify_readable(labelled, Mirror())
    assert readable.left_out == {"unreadable: happy/00.png, happy/14.png, sad/11.png and 1 more": 4}
    kept = [row for row in range(40) if row not in (0, 7, 25, 39)]
    assert [path.name for path in readable.paths] == [labelled.paths[row].name for row in kept]
    np.testing.assert_array_equal(readable.labels, labelled.labels[kept])
    np.testing.assert_array_equal(answers.logits, before.logits[kept])
    assert len(readable.xyxy) == len(readable.tied) == len(answers.found) == 36
    assert readable.digest() == read_again(tmp_path, labelled, kept).digest()
    with pytest.raises(EvaluationError, match=r"00\.png is not an image that can be read"):
        classify_set(labelled, Mirror())


def read_again(folder: Path, labelled: LabelledSet, rows: list[int]) -> LabelledSet:
    lines = [f"{labelled.paths[row]},{label_names(labelled.labels[[row]])[0]}" for row in rows]
    (folder / "list.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    return read_labelled(folder / "list.csv")


def test_unreadable_pictures_get_no_average_landmarks(tmp_path: Path) -> None:
    labelled = with_damage(tmp_path, (3,))
    black = cv2.imread(str(labelled.paths[0])) * 0
    assert cv2.imwrite(str(labelled.paths[0]), black)
    readable, answers = classify_readable(labelled, Mirror(), FixedDetector(), not_found="average")
    assert len(readable) == len(answers.logits) == 39
    assert answers.found.tolist() == [False] + [True] * 38
    assert answers.answered.all()


@pytest.mark.parametrize("damaged", [5, 40])
def test_a_set_with_many_unreadable_pictures_is_refused(tmp_path: Path, damaged: int) -> None:
    labelled = with_damage(tmp_path, tuple(range(damaged)))
    detection_for(labelled, DetectionConfig())
    with pytest.raises(EvaluationError, match=r"more than a tenth of the 40 images of .* the first of them .*00\.png"):
        classify_readable(labelled, Mirror())


def test_the_digest_changes_with_pictures_labels_and_boxes(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 10)
    path = tmp_path / "list.csv"
    digests = set()
    for text in (
        "path,label\na.png,fear\n",
        "path,label\na.png,anger\n",
        "path,label,x1,y1,x2,y2\na.png,fear,1,2,3,4\n",
    ):
        path.write_text(text)
        digests.add(read_labelled(path).digest())
    path.write_text("path,label\na.png,fear\n")
    again = read_labelled(path).digest()
    assert again in digests
    picture(tmp_path / "a.png", 11)
    assert read_labelled(path).digest() not in digests
    assert len(digests) == 3


def test_words_for_expressions() -> None:
    assert [expression_index(word) for word in (" Angry ", "HAPPINESS", "contempt")] == [5, 3, -1]


# Crops --------------------------------------------------------------------------------------------------------------


def test_a_picture_taken_as_a_crop_is_the_square_in_its_middle() -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 20:60] = 200
    assert (as_crop(image, np.full(4, np.nan, np.float32), 8) == 200).all()


def test_a_box_is_grown_to_a_square_and_its_border_goes_on() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[:20, 10:20] = 100
    crop = as_crop(image, np.array([10, 0, 20, 20], np.float32), 20)
    assert crop[10, 10, 0] == 100
    assert crop[10, 0, 0] == 0
    assert crop.shape == (20, 20, 3)
    beyond = as_crop(image, np.array([-20, -20, 0, 0], np.float32), 8)
    assert (beyond == image[0, 0]).all()


def test_with_the_detector_pictures_are_aligned_and_faces_not_found_are_left_out() -> None:
    images = np.random.default_rng(0).integers(1, 255, (3, 48, 48), np.uint8)
    images[1] = 0
    labelled = LabelledSet("x", "test", np.zeros(3, np.int64), images=images)
    detector = FixedDetector()
    answers = classify_set(labelled, Mirror(), detector)
    assert detector.seen == [(224, 224, 3)] * 3
    assert answers.found.tolist() == answers.answered.tolist() == [True, False, True]
    assert answers.detector == "fixed"
    filled = classify_set(labelled, Mirror(), detector, not_found="average")
    assert filled.found.tolist() == [True, False, True]
    assert filled.answered.all()
    assert filled.logits[1, 0] == 0.0, "the average landmarks were laid over the black picture"
    done: list[int] = []
    plain = classify_set(labelled, Mirror(), on_image=done.append)
    assert plain.found.all()
    assert not plain.with_detector
    assert done == [1, 2, 3]
    np.testing.assert_allclose(plain.logits[0, 0], images[0].mean(), atol=1.5)


class Askew(FixedDetector):
    """Its face's mouth lies where no similarity lays it on a template. In dark pictures it finds none."""

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        aside = np.array([[0, 0], [0, 0], [0, 0], [30, 20], [30, 20]], np.float32)
        return [
            Detections(face.xyxy, face.score, face.landmarks + aside) if image.max() > 100 else Detections.empty()
            for image, face in zip(images, super().detect(images), strict=True)
        ]


@pytest.mark.parametrize("side", [48, 300])
def test_a_classifier_that_looks_at_landmarks_is_asked_as_in_the_pipeline(side: int, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(landmark_attention().state_dict(), tmp_path / "la.pth")
    classifier = build_classifier(ClassificationConfig(), write_card(tmp_path / "la.pth", size=224))
    images = np.random.default_rng(3).integers(1, 255, (2, side, side), np.uint8)
    images[1] //= 4
    labelled = LabelledSet("x", "test", np.zeros(2, np.int64), images=images)
    detector = Askew()
    answers = classify_set(labelled, classifier, detector, not_found="average")
    assert answers.found.tolist() == [True, False]
    points = detector.detect([images[0]])[0].landmarks
    if side == 48:
        points = ((points - 32 + 0.5) * 48 / 160 - 0.5).astype(np.float32)
    for row in (0, 1):  # the second one with the average landmarks, which are the first one's
        cut = align_faces(labelled.image(row), points, classifier.template, 224)
        np.testing.assert_allclose(answers.logits[row], crop_logits(classifier, cut, points)[0], atol=0.003)
        assert np.abs(answers.logits[row] - classifier.logits(cut)[0]).max() > 0.005
    if side == 300:
        looked = FaceAnalyzer(detector, classifier).analyse([Frame(0, 0.0, labelled.image(0))])
        np.testing.assert_array_equal(looked[0].faces.logits[0], answers.logits[0])
    taken_as_crops = classify_set(labelled, classifier)
    whole = as_crop(labelled.image(0), labelled.xyxy[0], 224)
    np.testing.assert_array_equal(taken_as_crops.logits[0], classifier.logits(whole[None])[0])


class TwoFaces:
    """A sure face on the left, an unsure one on the right."""

    fingerprint = "two"

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        assert images[0].shape == (200, 300, 3), "large pictures are seen as they are"
        points = np.array([[30, 40], [60, 40], [45, 55], [32, 70], [58, 70]], np.float32)
        box = np.array([20, 20, 70, 90], np.float32)
        right = np.array([200, 0], np.float32)
        return [
            Detections(
                np.stack([box, box + np.tile(right, 2)]),
                np.array([0.9, 0.4], np.float32),
                np.stack([points, points + right]),
            )
            for _ in images
        ]

    def smallest_face_px(self, width: int, height: int) -> float:
        return 1.0


@pytest.mark.parametrize(("xyxy", "level"), [([np.nan] * 4, 50), ([220, 20, 270, 90], 250), ([120, 0, 180, 10], None)])
def test_the_labelled_box_says_which_face_is_meant(xyxy: list[float], level: int | None) -> None:
    image = np.full((200, 300, 3), 50, np.uint8)
    image[:, 150:] = 250
    labelled = LabelledSet("x", "test", np.zeros(1, np.int64), images=image[None], xyxy=np.array([xyxy], np.float32))
    answers = classify_set(labelled, Mirror(), TwoFaces())
    assert answers.found.tolist() == [level is not None]
    if level is not None:
        assert answers.logits[0, 0] == level


def test_the_detector_may_be_unsure_where_faces_are_known_to_be() -> None:
    small = LabelledSet("x", "test", np.zeros(1, np.int64), images=np.zeros((1, 48, 48), np.uint8))
    large = LabelledSet("x", "test", np.zeros(1, np.int64), images=np.zeros((1, 480, 480), np.uint8))
    config = detection_for(small, DetectionConfig())
    assert (config.score_threshold, config.long_side) == (0.1, 224)
    assert detection_for(large, DetectionConfig()).long_side is None
    assert detection_for(small, DetectionConfig(score_threshold=0.7, long_side=320)).long_side == 320


# Our own CSV: persons, shares of raters, columns to choose by --------------------------------------------------------


def _listed(tmp_path: Path, text: str) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / name)
    (tmp_path / "list.csv").write_text(text)
    return tmp_path / "list.csv"


def test_shares_of_raters_are_votes_and_a_label_they_could_not_give_stands(tmp_path: Path) -> None:
    text = "file,label,subject,share_happy,share_sad\na.png,sad,P1,1,3\nb.png,neutral,P2,0.9,0.1\nc.png,happy,P1,,\n"
    found = read_labelled(_listed(tmp_path, text))
    assert found.subjects == ("P1", "P2", "P1")
    happy, sad, neutral = (EXPRESSIONS.index(name) for name in ("happiness", "sadness", "neutral"))
    assert found.votes[0, [happy, sad]].tolist() == [0.25, 0.75]
    assert found.votes[1, neutral] == 1.0
    assert found.votes[2, happy] == 1.0
    assert not read_labelled(_listed(tmp_path, "file,label\na.png,sad\n")).has_votes


@pytest.mark.parametrize("share", ["much", "-0.5", "nan"])
def test_a_share_that_is_none_is_told_with_its_row(tmp_path: Path, share: str) -> None:
    with pytest.raises(EvaluationError, match="row 3"):
        read_labelled(_listed(tmp_path, f"file,label,share_sad\na.png,sad,1\nb.png,sad,{share}\n"))


def test_rows_can_be_chosen_by_a_column(tmp_path: Path) -> None:
    path = _listed(tmp_path, "file,label,origin\na.png,sad,lab\nb.png,fear,web\nc.png,happy,lab\n")
    assert [each.name for each in read_labelled(path, only={"origin": ("lab",)}).paths] == ["a.png", "c.png"]
    with pytest.raises(EvaluationError, match="has no column place"):
        read_labelled(path, only={"place": ("lab",)})
    with pytest.raises(EvaluationError, match="no columns to choose by"):
        read_labelled(tmp_path, only={"origin": ("lab",)})


def test_some_pictures_of_a_set_keep_what_is_known_of_them(tmp_path: Path) -> None:
    text = "file,label,subject,share_happy,share_sad\na.png,sad,P1,1,3\nb.png,sad,P2,0,1\nc.png,happy,P3,1,0\n"
    found = read_labelled(_listed(tmp_path, text)).some(np.array([2, 0]))
    assert [path.name for path in found.paths] == ["c.png", "a.png"]
    assert found.subjects == ("P3", "P1")
    assert found.votes.shape == (2, 7)
    assert names(found) == ["happiness", "sadness"]

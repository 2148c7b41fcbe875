"""What a run is for: stated, refused, required, stored and shown."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from fertrack.cli.main import run
from fertrack.config import Settings, digest, load_settings
from fertrack.demo import compose_demo
from fertrack.errors import ConfigError
from fertrack.reporting.html.run_page import write_html
from fertrack.rights import config as rights_config
from fertrack.rights import purpose
from fertrack.rights.config import PrivacyConfig, refused_area
from fertrack.rights.purpose import NOTICE, check_stated
from fertrack.storage.engine import open_database
from fertrack.types import EXPRESSIONS
from tests.support import queries
from tests.support.storage_scenes import RECORD, result, store


@pytest.mark.parametrize(
    ("purpose", "area"),
    [
        ("workplace", "at work"),
        ("Work-place analytics", "at work"),
        ("stress AT WORK", "at work"),
        ("employee monitoring", "at work"),
        ("screening job applicants", "at work"),
        ("recruitment", "at work"),
        ("education", "in education"),
        ("class room", "in education"),
        ("e_learning", "in education"),
        ("student engagement", "in education"),
        ("school", "in education"),
        ("at our work", "at work"),
        ("stress of nurses during their shift", "at work"),
        ("mood of my team in meetings", "at work"),
        ("Überwachung am Arbeitsplatz", "at work"),
        ("Stimmung der Mitarbeiterinnen", "at work"),
        ("stress au travail", "at work"),
        ("estrés en el trabajo", "at work"),
        ("grading students in class", "in education"),
        ("student emotions", "in education"),
        ("the boredom of our students", "in education"),
        ("Aufmerksamkeit der Schüler", "in education"),
        ("émotions des élèves", "in education"),
        ("emociones de los alumnos", "in education"),
        ("written exam", "in education"),
        ("teaching maths", "in education"),
        ("eye exam", ""),
        ("teaching my robot", ""),
        ("best in class camera test", ""),
        ("Schulter und Gesicht", ""),
        ("team sport highlights", ""),
        ("doctoral research on smiles", ""),
        ("usability study 7", ""),
        ("how paintings work on people", ""),
        ("field work in Ghana", ""),
        ("a student's thesis on smiles", ""),
        ("exampled", ""),
        ("research", ""),
        ("", ""),
    ],
)
def test_what_counts_as_work_and_education(purpose: str, area: str) -> None:
    assert refused_area(purpose) == area


@pytest.mark.parametrize("purpose", ["workplace", "education"])
def test_work_and_education_are_refused_with_the_article(purpose: str) -> None:
    with pytest.raises(ConfigError, match=r"prohibited in the EU \(AI Act, Art\. 5\(1\)\(f\)") as refused:
        load_settings([], [f"privacy.purpose={purpose}"])
    assert "privacy.override" in str(refused.value)
    for reason in ("medical", "safety"):
        settings = load_settings([], [f"privacy.purpose={purpose}", f"privacy.override={reason}"])
        assert (settings.privacy.purpose, settings.privacy.override) == (purpose, reason)


def test_no_other_reason_lifts_the_prohibition() -> None:
    with pytest.raises(ConfigError, match=r"privacy\.override"):
        load_settings([], ["privacy.purpose=workplace", "privacy.override=research"])
    with pytest.raises(ValueError, match="prohibited"):
        PrivacyConfig(purpose="workplace")


def test_a_purpose_is_one_line_and_changes_no_digest() -> None:
    settings = load_settings([], ['privacy.purpose="two\\n lines"'])
    assert settings.privacy.purpose == "two lines"
    assert digest(settings) == digest(Settings())


@pytest.mark.parametrize("option", ["purpose", "consent"])
@pytest.mark.parametrize("text", ["a\x1b]0;x", "a\u202eb"])
def test_a_purpose_is_plain_text(option: str, text: str) -> None:
    with pytest.raises(ConfigError, match=rf"privacy.{option} cannot hold U\+"):
        check_stated(PrivacyConfig.model_validate({option: text}))


def test_a_purpose_can_be_made_mandatory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_stated(PrivacyConfig(require_purpose=True, purpose="research"))
    with pytest.raises(ConfigError, match="--purpose"):
        check_stated(PrivacyConfig(require_purpose=True))
    clip = tmp_path / "clip.mp4"
    compose_demo(clip, frame_count=2)
    out = tmp_path / "out"
    assert run(["process", str(clip), "-o", str(out), "--set", "privacy.require_purpose=true"]) == 1
    assert "require_purpose" in capsys.readouterr().err
    assert not out.exists()


def test_the_command_line_refuses_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"never read")
    assert run(["process", str(clip), "-o", str(tmp_path / "out"), "--purpose", "Workplace wellbeing"]) == 2
    complaint = capsys.readouterr().err
    assert "Art. 5(1)(f)" in complaint
    assert len(complaint.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_purpose_and_consent_are_stored_and_in_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, out = tmp_path / "clip.mp4", tmp_path / "out"
    compose_demo(clip, frame_count=2)
    stated = ["--purpose", "a <b>bold</b> study", "--consent", "forms 1-2", "--set", "privacy.retention_days=30"]
    assert run(["process", str(clip), "-o", str(out), "--no-video", *stated]) == 0
    assert "fertrack privacy notice" not in capsys.readouterr().err
    with open_database(out / "fertrack.db") as database:
        facts = queries.run_facts(database, 1)
    assert (facts.purpose, facts.consent, facts.privacy_override) == ("a <b>bold</b> study", "forms 1-2", "")
    assert facts.retention_days == 30
    page = (out / "clip.report.html").read_text(encoding="utf-8")
    assert "a &lt;b&gt;bold&lt;/b&gt; study" in page
    assert "forms 1-2" in page
    assert re.search(r"until \d{4}-\d\d-\d\d, then deleted", page)


def test_an_unstated_purpose_is_allowed_and_prints_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, out = tmp_path / "clip.mp4", tmp_path / "out"
    compose_demo(clip, frame_count=2)
    assert run(["process", str(clip), "-o", str(out), "--no-video"]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if "fertrack privacy notice" in line] == [
        f"note: {purpose.UNSTATED}"
    ]
    assert "not stated" in (out / "clip.report.html").read_text(encoding="utf-8")


def test_an_exception_is_shown_in_the_report(tmp_path: Path) -> None:
    from dataclasses import replace

    record = replace(RECORD, purpose="workplace safety", privacy_override="safety")
    with open_database(tmp_path / "a.db", create=True) as database:
        run_id = store(database, [result(0, 0.0, [(1, "anger", 0.5)])], record=record)
        page = write_html(database, run_id, tmp_path / "a.html").read_text(encoding="utf-8")
    assert "for a safety reason (exception of EU AI Act, Art. 5(1)(f))" in page


def test_the_notice_tells_what_the_law_asks_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["privacy", "notice"]) == 0
    text = capsys.readouterr().out
    assert text == NOTICE
    for needed in ("Article 50(3)", "2024/1689", "2016/679", "emotion recognition system", *EXPRESSIONS):
        assert needed in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_the_notice_says_what_is_kept_of_faces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["privacy", "notice"]) == 0
    blank = capsys.readouterr().out
    assert "[One small image of each person's face kept: yes / no]" in blank
    (tmp_path / "study.toml").write_text("[privacy]\nthumbnails = true\n", encoding="utf-8")
    assert (
        run(["privacy", "notice", "--config", str(tmp_path / "study.toml"), "--set", "linking.store_embeddings=true"])
        == 0
    )
    text = capsys.readouterr().out
    assert "One small image of your face, for the report." in text
    assert "recognised again (biometric data): for 30 days." in text
    assert "face kept: yes / no" not in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_the_list_of_words_is_called_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["privacy", "notice", "--help"]) == 0
    assert "it reminds, it does not decide" in " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "does not decide" in (PrivacyConfig.model_fields["purpose"].description or "")


def test_examples_in_docstrings_run() -> None:
    outcome = doctest.testmod(rights_config)
    assert (outcome.failed, outcome.attempted > 0) == (0, True)

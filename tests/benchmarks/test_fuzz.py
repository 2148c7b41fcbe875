"""Broken input, by seed: every reader gives a result or one sentence. ``benchmarks fuzz`` tries thousands."""

from __future__ import annotations

import os

import pytest

from fertrack.benchmarks.fuzz.child import ReaderProcess
from fertrack.benchmarks.fuzz.measure import fuzz, main
from fertrack.benchmarks.fuzz.mutate import broken
from fertrack.benchmarks.fuzz.readers import READERS, Reader
from fertrack.errors import StorageError

INPUTS = 34
"""Of each of nine readers: about 300 in all."""


@pytest.mark.skipif(os.name == "nt", reason="the process with limits is for POSIX systems")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_input_gives_a_result_or_a_sentence(reader: Reader) -> None:
    found = fuzz(reader, INPUTS)
    assert found.faults == []
    assert found.counts["refused"] > 0


def test_the_same_seed_breaks_content_in_the_same_way() -> None:
    content = bytes(range(256)) * 20
    assert broken(content, 7) == broken(content, 7) != content
    assert len({broken(content, seed, is_text=True) for seed in range(50)}) > 45
    assert broken(b"", 3, is_text=True) is not None


def test_an_error_of_another_kind_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def reads(path: object) -> None:
        raise KeyError("what is this")

    def complains(path: object) -> None:
        raise StorageError("")

    wrong = [Reader("keys", (".toml",), reads), Reader("words", (".toml",), complains)]
    monkeypatch.setattr("fertrack.benchmarks.fuzz.measure.READERS", wrong)
    assert main(["--inputs", "2"]) == 1
    told = capsys.readouterr().out
    assert "keys, mine.toml, seed 0: KeyError" in told
    assert "words, mine.toml, seed 0: an error that is no sentence: ''" in told


@pytest.mark.skipif(os.name == "nt", reason="the process with limits is for POSIX systems")
def test_a_reader_that_ends_its_process_costs_one_file() -> None:
    process = ReaderProcess(limit_s=20)
    try:
        process._process.kill()  # as a decoder that crashes
        process._process.join()
        said = process.read("boxes", "gone.txt")  # type: ignore[arg-type]  # a path will do as text
        assert said == "ends the process (SIGKILL)"
        assert process.read("boxes", "gone.txt") == "refused"  # type: ignore[arg-type]  # as above
    finally:
        process.close()

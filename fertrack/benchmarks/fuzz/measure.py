"""Counts how readers take broken input; the exit code is 1 where one of them does not."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from fertrack.benchmarks.fuzz.child import ReaderProcess
from fertrack.benchmarks.fuzz.material import whole_files
from fertrack.benchmarks.fuzz.mutate import broken
from fertrack.benchmarks.fuzz.readers import READERS, Reader, outcome

__all__ = ["Findings", "fuzz", "main"]

_GROWTH_MB = 300.0
"""More than this much memory beyond that of the first hundred inputs is growth."""


@dataclass(slots=True)
class Findings:
    """Findings about one reader.

    Attributes:
        counts: inputs that were read, and refused.
        faults: in words what must not be, with kind of file and seed.
        seconds: it took.
        growth_mb: memory beyond that of the first hundred inputs, of readers in a process of their own.
    """

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    growth_mb: float = 0.0


def fuzz(reader: Reader, inputs: int, *, first_seed: int = 0) -> Findings:
    """Give a reader broken inputs.

    Args:
        reader: one of ``READERS``.
        inputs: how many.
        first_seed: the seeds count up from here.
    """
    found = Findings()
    began_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        (folder / "whole").mkdir()
        wholes = [path for path in whole_files(folder / "whole") if path.suffix in reader.suffixes]
        child = stack.enter_context(closing(ReaderProcess())) if reader.in_child else None
        settled_mb = 0.0
        for number in range(inputs):
            whole, seed = wholes[number % len(wholes)], first_seed + number
            path = folder / f"{number % 50}{whole.suffix}"
            own = zlib.crc32(f"{reader.name} {seed}".encode())
            path.write_bytes(broken(whole.read_bytes(), own, is_text=reader.is_text))
            said = child.read(reader.name, path) if child else outcome(reader, path)
            found.counts[said if said in ("read", "refused") else "fault"] += 1
            if said not in ("read", "refused"):
                found.faults.append(f"{reader.name}, {whole.name}, seed {seed}: {said}")
            if child and number in (99, inputs - 1):
                settled_mb = settled_mb or child.peak_mb()
                found.growth_mb = child.peak_mb() - settled_mb
    if found.growth_mb > _GROWTH_MB:
        found.faults.append(f"{reader.name}: memory grew by {found.growth_mb:.0f} MB")
    found.seconds = time.perf_counter() - began_s
    return found


def main(arguments: Sequence[str]) -> int:
    """Fuzz the readers and print a line for each; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fertrack.benchmarks fuzz", description="Give broken input to every reader."
    )
    parser.add_argument("--inputs", type=int, default=10_000, help="of all readers together")
    parser.add_argument("--seed", type=int, default=0, help="of the first input")
    parser.add_argument("--reader", choices=[reader.name for reader in READERS])
    options = parser.parse_args(arguments)
    chosen = [reader for reader in READERS if options.reader in (None, reader.name)]
    faults: list[str] = []
    logging.disable(logging.WARNING)
    try:
        for reader in chosen:
            found = fuzz(reader, max(1, options.inputs // len(chosen)), first_seed=options.seed)
            faults += found.faults
            counts = ", ".join(f"{found.counts[name]} {name}" for name in ("read", "refused", "fault"))
            sys.stdout.write(f"{reader.name:<15} {counts}; {found.seconds:.0f} s\n")
    finally:
        logging.disable(logging.NOTSET)
    sys.stdout.write("".join(f"{fault}\n" for fault in faults))
    return 1 if faults else 0

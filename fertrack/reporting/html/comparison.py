"""Several runs side by side: who showed what for how much of the time, and what of that may be compared at all.

Persons stand together where the database knows that they are one (linked across runs, or merged), or where they have
the same name. Nothing else is matched: ``P1`` of one run need not be ``P1`` of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fertrack.files import check_free, replacing
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.html.comparison_facts import RunSide, different_settings, fact_rows, read_side, warnings
from fertrack.reporting.html.page import render_page
from fertrack.reporting.html.wording import plural
from fertrack.storage.stored_run import StoredRun
from fertrack.storage.written_files import Comparison, record_output
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    from fertrack.storage.engine import Database

__all__ = ["Group", "Share", "groups_of", "write_comparison"]


@dataclass(frozen=True, slots=True)
class Share:
    """Share of time of each expression for one person, or everybody, in one run.

    Attributes:
        run: number of the run; 0 where the person is not in it.
        label: what the person is called there.
        visible_s: time seen, s.
        shares: share of that time per expression estimate, in ``EXPRESSIONS`` order.
        uncertain: share of that time without a certain estimate.
    """

    run: int
    label: str
    visible_s: float
    shares: dict[str, float]
    uncertain: float


@dataclass(frozen=True, slots=True)
class Group:
    """One person with their shares in every run they are in.

    Attributes:
        title: name, or what they are called where they have none.
        rows: one per run, in the order of the runs.
    """

    title: str
    rows: tuple[Share, ...]


def write_comparison(
    db: Database, runs: Sequence[int], path: Path, config: ReportConfig | None = None, *, overwrite: bool = False
) -> Path:
    """Write the report that puts several runs side by side. The same stored runs always give the same bytes.

    Args:
        db: the open database.
        runs: their numbers, in the order in which they are shown; at least two different ones.
        path: the file to write; its folder is made if missing.
        config: longest gap that does not count as time unseen; the defaults if None.
        overwrite: replace a file that is already there.

    Returns:
        ``path``.

    Raises:
        ValueError: fewer than two runs.
        OutputExistsError: ``path`` is already there and ``overwrite`` is False.
        RunNotFoundError: one of the runs is not stored.
        ReportError: the file could not be written.
    """
    runs = list(dict.fromkeys(runs))
    if len(runs) < 2:
        raise ValueError(f"a comparison needs at least two different runs, got {runs}")
    check_free(path, overwrite=overwrite)
    config = config or ReportConfig()
    with db.reading() as connection:
        sides = [read_side(StoredRun.find(connection, db.name, run, corrected=db.corrected), config) for run in runs]
    groups = groups_of(sides)
    together = [group for group in groups if len({row.run for row in group.rows}) > 1]
    page = render_page(
        "comparison.html.j2",
        {},
        {
            "title": f"Runs {', '.join(map(str, runs))} – comparison of expression estimates",
            "fertrack_version": max(side.facts.fertrack_version for side in sides),
            "calibration_section": ("runs", "The runs"),
            "sides": sides,
            "notices": warnings(sides, matched=len(together)),
            "everybody": _everybody(sides),
            "together": together,
            "alone": _by_run(sides, [group for group in groups if group not in together]),
            "facts_rows": fact_rows(sides),
            "settings_rows": different_settings(sides),
        },
    )
    with replacing(path, overwrite=overwrite) as file:
        file.write(page)
    for run in runs:
        record_output(db, run, path, Comparison(config, tuple(runs)))
    return path


def groups_of(sides: Sequence[RunSide]) -> list[Group]:
    """Persons of several runs, those who are one together; in the order in which they first appear."""
    rows: dict[tuple[str, int | str], list[Share]] = {}
    titles: dict[tuple[str, int | str], str] = {}
    key_of_person: dict[int, tuple[str, int | str]] = {}
    for side in sides:
        for person in side.persons:
            identity, name = person.who.id, person.who.name
            key: tuple[str, int | str] = ("track", f"{side.run}/{person.track}")
            if name:
                key = ("name", name.casefold())
            elif identity:
                key = key_of_person.setdefault(identity, ("person", identity))
            titles.setdefault(key, name or f"{person.label} of run {side.run}")
            share = Share(side.run, person.label, person.visible_s, person.shares, person.uncertain)
            rows.setdefault(key, []).append(share)
    return [Group(titles[key], tuple(found)) for key, found in rows.items()]


def _by_run(sides: Sequence[RunSide], groups: Sequence[Group]) -> list[Group]:
    """Persons of one run only, one table per run."""
    rows = [row for group in groups for row in group.rows]
    tables = [Group(f"Run {side.run}", tuple(row for row in rows if row.run == side.run)) for side in sides]
    return [table for table in tables if table.rows]


def _everybody(sides: Sequence[RunSide]) -> Group:
    rows = []
    for side in sides:
        seen_s = sum(person.visible_s for person in side.persons)
        weights = [person.visible_s / seen_s if seen_s > 0 else 0.0 for person in side.persons]
        pairs = list(zip(weights, side.persons, strict=True))
        shares = {name: sum(weight * person.shares[name] for weight, person in pairs) for name in EXPRESSIONS}
        uncertain = sum(weight * person.uncertain for weight, person in pairs)
        rows.append(Share(side.run, plural(len(side.persons), "person"), seen_s, shares, uncertain))
    return Group("All persons together", tuple(rows))

"""Figure of epochs: mean and confidence band across trials, by condition; a row an expression, a column a person.

Drawn with matplotlib (extra ``[figures]``) as SVG, PNG, PDF, or a page that holds the SVG and the numbers. The same
table gives the same file. Colours of conditions are those of Okabe and Ito (2008), which colour-blind people can tell.
"""

from __future__ import annotations

import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fertrack.errors import MissingExtraError, ReportError
from fertrack.files import drafted
from fertrack.imaging.palette import PAGE_LIGHT
from fertrack.storage.queries.epochs import EpochRule, epoch_means, epochs
from fertrack.storage.written_files import EpochFigure, record_output
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    from fertrack.storage.engine import Database

__all__ = ["FIGURE_SUFFIXES", "figure_of_run", "write_epoch_figure"]

FIGURE_SUFFIXES = (".svg", ".png", ".pdf", ".html")

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a7a00")
_DASHES = ("-", "--", "-.", ":")
_MAX_PERSONS = 8
_MAX_CONDITIONS = len(_COLOURS)
_DPI = 150
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "fertrack", "text.parse_math": False, "font.size": 9.0}


def figure_of_run(database: Database, run: int, path: Path, asked: EpochFigure, *, overwrite: bool = False) -> None:
    """Draw epochs of a stored run, and remember the file, so that it can be drawn again without a person.

    Args:
        database: the open database.
        run: number of the run.
        path: the file; see ``write_epoch_figure``.
        asked: which epochs.
        overwrite: replace a file of that name.

    Raises:
        FertrackError: as ``epochs`` and ``write_epoch_figure`` say.
    """
    with database.run(run) as stored:
        table = epochs(stored, asked.marker, asked.rule, by=asked.by, who=asked.who, expression=asked.expression)
        title = f"{asked.marker or 'all markers'} in {stored.facts.source_name}"
    write_epoch_figure(table, path, title=title, overwrite=overwrite)
    record_output(database, run, path, asked)


def write_epoch_figure(table: pd.DataFrame, path: Path, *, title: str = "", overwrite: bool = False) -> None:
    """Draw the means of epochs into a file.

    Args:
        table: as from ``storage.queries.epochs.epochs``.
        path: the file; its suffix, one of ``FIGURE_SUFFIXES``, says what it is.
        title: heading of the figure.
        overwrite: replace a file of that name.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputExistsError: something is already there and ``overwrite`` is False.
        ReportError: the file has another suffix, cannot be written, or there are too many persons or conditions.
    """
    suffix = path.suffix.lower()
    if suffix not in FIGURE_SUFFIXES:
        raise ReportError(f"{path}: a figure must end in {', '.join(FIGURE_SUFFIXES)}")
    persons = list(dict.fromkeys(zip(table["run"], table["person"], strict=True)))
    conditions = list(dict.fromkeys(table["condition"]))
    if len(persons) > _MAX_PERSONS:
        raise ReportError(f"a figure has room for {_MAX_PERSONS} persons, not {len(persons)}: name one with --person")
    if len(conditions) > _MAX_CONDITIONS:
        raise ReportError(
            f"a figure can tell {_MAX_CONDITIONS} conditions apart, not {len(conditions)}: choose a column with fewer"
        )
    means = epoch_means(table)
    kind = "svg" if suffix == ".html" else suffix[1:]
    drawing = _drawn(means, persons, conditions, rule=table.attrs["rule"], title=title, kind=kind)
    if suffix == ".html":
        drawing = _page(drawing.decode(), means, title).encode()
    with drafted(path, overwrite=overwrite) as draft:
        draft.write_bytes(drawing)


def _drawn(
    means: pd.DataFrame,
    persons: list[tuple[int, str]],
    conditions: list[str],
    *,
    rule: EpochRule,
    title: str,
    kind: str,
) -> bytes:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("a figure of epochs needs the package matplotlib", "figures") from error
    shown = [name for name in EXPRESSIONS if name in set(means["expression"])]
    most = means.groupby("condition")["trials"].max()
    labels = {name: f"{name} ({most[name]} {'trial' if most[name] == 1 else 'trials'})" for name in conditions}
    several_runs = len({run for run, _ in persons}) > 1
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(1.2 + 3.2 * len(persons), 1.5 + 1.5 * len(shown)), layout="constrained")
        axes = figure.subplots(len(shown), len(persons), sharex=True, sharey=True, squeeze=False)
        for column, (run, person) in enumerate(persons):
            theirs = means[(means["run"] == run) & (means["person"] == person)]
            axes[0, column].set_title(f"run {run} · {person}" if several_runs else person)
            for row, expression in enumerate(shown):
                _panel(axes[row, column], theirs[theirs["expression"] == expression], labels, rule)
                if column == 0:
                    axes[row, 0].set_ylabel(expression)
        figure.suptitle(title)
        what = "probability" if rule.baseline is None else "change of probability from the baseline"
        figure.supxlabel(f"seconds from the marker; {what}, mean and 95 % t interval across trials", fontsize=9)
        handles, names = axes[0, 0].get_legend_handles_labels()
        if len(conditions) > 1:
            figure.legend(handles, names, loc="outside upper right")
        target = io.BytesIO()
        metadata = {} if kind == "png" else {"CreationDate" if kind == "pdf" else "Date": None}
        figure.savefig(target, format=kind, dpi=_DPI, metadata=metadata)
    return target.getvalue()


def _panel(axis: Any, means: pd.DataFrame, labels: dict[str, str], rule: EpochRule) -> None:
    """Lines and bands of one person and expression; each value stands at the middle of its interval."""
    edges = rule.offsets()
    middles = dict(zip(edges[:-1].tolist(), ((edges[:-1] + edges[1:]) / 2).tolist(), strict=True))
    axis.axvline(0.0, color=PAGE_LIGHT["muted"], linewidth=0.8, linestyle=":")
    if rule.baseline is not None:
        axis.axhline(0.0, color=PAGE_LIGHT["rule"], linewidth=0.8)
        axis.axvspan(*rule.baseline, color=PAGE_LIGHT["page"], zorder=0)
    for place, condition in enumerate(labels):
        mine = means[means["condition"] == condition]
        time_s = np.array([middles[each] for each in mine["epoch_s"].tolist()])
        colour, dashes = _COLOURS[place], _DASHES[place % len(_DASHES)]
        axis.fill_between(time_s, mine["low"], mine["high"], color=colour, alpha=0.18, linewidth=0)
        axis.plot(time_s, mine["mean"], color=colour, linestyle=dashes, label=labels[condition])
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0)


def _page(svg: str, means: pd.DataFrame, title: str) -> str:
    """A page with the figure and the numbers that it shows; loads nothing."""
    numbers = means.to_html(index=False, float_format="{:.4f}".format, na_rep="", border=0)
    colours = f"color:{PAGE_LIGHT['text']};background:{PAGE_LIGHT['surface']}"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f"<style>body{{font:14px sans-serif;margin:2em;{colours}}}svg{{max-width:100%;height:auto}}"
        "td,th{text-align:right;padding:0 .8em}</style></head>\n<body>\n"
        f"{svg[svg.index('<svg') :]}\n<details><summary>The numbers</summary>\n{numbers}\n</details>\n"
        "</body>\n</html>\n"
    )

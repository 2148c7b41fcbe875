"""What people read: the HTML report and the CSV files of one run.

``write_html`` and ``write_csv`` load pandas, Jinja2 and the charts only when they are first used, so that reading the
options of this stage stays cheap.

Reading order::

    config     options of reports and episodes
    html/      the HTML report
    exports/   files for other programs
    notebook/  tables and charts in notebooks
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fertrack.reporting.config import ReportConfig

if TYPE_CHECKING:
    from fertrack.reporting.exports.csv_export import write_csv
    from fertrack.reporting.html.run_page import write_html

__all__ = ["ReportConfig", "write_csv", "write_html"]


def __getattr__(name: str) -> Any:
    if name == "write_csv":
        from fertrack.reporting.exports.csv_export import write_csv

        return write_csv
    if name == "write_html":
        from fertrack.reporting.html.run_page import write_html

        return write_html
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""A chart of the report as a Plotly figure that shows itself in a notebook, painted in the light theme.

Plotly's own tool bar has a button that uploads the chart to a server; the figures made here name their buttons one by
one, however they are shown, and load nothing from the network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from fertrack.errors import ReportError, reason_of
from fertrack.imaging.palette import LIGHT, PAGE_LIGHT
from fertrack.reporting.html.axes import moments, plotly_text, time_axis

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PLOTLY_CONFIG", "OfflineFigure", "painted", "write_lag_map"]

PLOTLY_CONFIG: dict[str, Any] = {
    "responsive": True,
    "displaylogo": False,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "modeBarButtons": [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
}
"""As in the report's script: an explicit list of buttons."""

_SPREAD_OPACITY = 0.22


class OfflineFigure(go.Figure):  # type: ignore[misc]  # plotly has no types: its classes are Any to mypy
    """A Plotly figure with ``PLOTLY_CONFIG``, unless another configuration is given."""

    def show(self, *args: Any, **kwargs: Any) -> Any:
        """Show it in the browser or notebook; arguments as for any Plotly figure."""
        return super().show(*args, **{"config": PLOTLY_CONFIG, **kwargs})

    def to_html(self, *args: Any, **kwargs: Any) -> str:
        """The figure as HTML; arguments as for any Plotly figure."""
        return str(super().to_html(*args, **{"config": PLOTLY_CONFIG, **kwargs}))

    def write_html(self, *args: Any, **kwargs: Any) -> None:
        """Write the figure as an HTML file; arguments as for any Plotly figure."""
        super().write_html(*args, **{"config": PLOTLY_CONFIG, **kwargs})

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> Any:
        return super()._repr_mimebundle_(*args, **{"config": PLOTLY_CONFIG, **kwargs})

    def _repr_html_(self) -> str:
        return self.to_html(full_html=False, include_plotlyjs=True)

    def _ipython_display_(self) -> None:
        self.show()


def painted(chart: dict[str, Any]) -> OfflineFigure:
    """A chart of ``reporting.charts`` in colour, with a legend of its expressions.

    Args:
        chart: ``{"data": [...], "layout": {...}}``, traces with ``meta.kind`` and ``meta.expression``.
    """
    axis = {
        "gridcolor": PAGE_LIGHT["rule"],
        "linecolor": PAGE_LIGHT["rule"],
        "tickfont": {"color": PAGE_LIGHT["muted"]},
    }
    layout = {
        **chart["layout"],
        "showlegend": True,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        "margin": {**chart["layout"].get("margin", {}), "t": 72},
        "height": chart["layout"]["height"] + 64,
        "paper_bgcolor": PAGE_LIGHT["surface"],
        "plot_bgcolor": PAGE_LIGHT["surface"],
        "font": {"color": PAGE_LIGHT["text"], "size": 12},
    }
    for name in [key for key in layout if key.startswith(("xaxis", "yaxis"))]:
        layout[name] = {**layout[name], **axis}
    with_lines = any(trace["meta"]["kind"] == "line" for trace in chart["data"])
    traces = [_painted_trace(trace, with_lines=with_lines) for trace in chart["data"]]
    return OfflineFigure({"data": traces, "layout": layout})


def write_lag_map(windows: pd.DataFrame, path: Path) -> Path:
    """Write a chart of the correlation by time and lag, with the best lag of each window, as one HTML file.

    Args:
        windows: as from ``storage.queries.synchrony.windowed_synchrony``.
        path: the file; replaced if there.

    Raises:
        ReportError: it could not be written.
    """
    facts, square = windows.attrs, windows.pivot_table(index="lag_s", columns="time_s", values="correlation")
    a, b, best = plotly_text(facts["a"]), plotly_text(facts["b"]), facts["best"]
    inner = [row for row in best if not row["at_limit"]]
    at = square.columns.to_numpy()
    traces = [
        go.Heatmap(
            x=moments(at),
            y=square.index,
            z=square.to_numpy(),
            zmin=-1,
            zmax=1,
            colorscale="RdBu",
            reversescale=True,
            colorbar={"title": {"text": "correlation"}},
            hovertemplate="%{x|%-M:%S}, lag %{y:.1f} s: r = %{z:.2f}<extra></extra>",
        ),
        go.Scatter(
            x=moments([row["time_s"] for row in inner]),
            y=[row["best_lag_s"] for row in inner],
            mode="markers",
            marker={"color": PAGE_LIGHT["text"], "size": 7},
            hoverinfo="skip",
        ),
    ]
    layout = {
        "title": {"text": f"{a} and {b}: {facts['expression']}, window by window (a dot: the best lag)"},
        "xaxis": time_axis(float(at.min(initial=0.0)), float(at.max(initial=1.0))),
        "yaxis": {"title": {"text": f"lag, s (above 0: {b} follows {a})"}},
        "showlegend": False,
        "font": {"color": PAGE_LIGHT["text"]},
    }
    try:
        OfflineFigure({"data": traces, "layout": layout}).write_html(path, include_plotlyjs=True)
    except OSError as error:
        raise ReportError(f"{path} cannot be written ({reason_of(error)}): choose another name") from error
    return path


def _painted_trace(trace: dict[str, Any], *, with_lines: bool) -> dict[str, Any]:
    kind = trace["meta"]["kind"]
    if kind == "cut":
        return {**trace, "showlegend": False, "line": {"color": PAGE_LIGHT["muted"], "width": 1, "dash": "dot"}}
    colour = LIGHT[trace["meta"]["expression"]]
    if kind == "line":
        width = 1.2 if trace["name"] == "neutral" else 1.8
        line = {"color": colour, "width": width}
        return {**trace, "legendgroup": trace["name"], "line": line, "marker": {"color": colour, "size": 5}}
    if kind == "spread":
        fill = f"rgba{(*(int(colour[place : place + 2], 16) for place in (1, 3, 5)), _SPREAD_OPACITY)}"
        group = trace["meta"]["expression"]
        return {**trace, "showlegend": False, "legendgroup": group, "line": {"width": 0}, "fillcolor": fill}
    if kind == "seen":
        pattern = {"shape": "/", "size": 5, "solidity": 0.3, "fgcolor": colour, "fillmode": "replace"}
        return {**trace, "showlegend": False, "marker": {"color": colour, "line": {"width": 0.5}, "pattern": pattern}}
    return {**trace, "showlegend": not with_lines, "marker": {"color": colour, "line": {"width": 0}}}

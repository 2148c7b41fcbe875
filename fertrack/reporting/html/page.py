"""Page frame of every report: templates, style, scripts, and the policy that shuts the network out."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from fertrack.errors import ReportError, reason_of
from fertrack.imaging import palette
from fertrack.models.weights import cache_folder
from fertrack.reporting.html import wording
from fertrack.reporting.html.charts import share_arrays, to_json
from fertrack.reporting.html.summary import sentence_of
from fertrack.types import EXPRESSIONS

__all__ = ["PLOTLY_FILE", "PLOTLY_SHA256", "render_page"]

PLOTLY_FILE = "plotly-basic.min.js"
PLOTLY_SHA256 = "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"
"""Of the file as npm carries it; see ``reporting/plotly_js/README.md``."""

_FILTERS = ("clock", "count", "duration", "megabytes", "percent", "plural")


def render_page(
    template: str, figures: dict[str, Any], facts: dict[str, Any], *, more: Sequence[str] = (), media: str = ""
) -> str:
    """A complete page.

    Args:
        template: its name.
        figures: the charts, by the name under which the template shows them; without any, the page has no script.
        facts: what the template is given.
        more: names of scripts after the charts' own.
        media: where videos may come from, as the policy's ``media-src``; nowhere if empty.

    Raises:
        ReportError: the charts' script is missing from the installed package.
    """
    themes = {
        "light": {"page": palette.PAGE_LIGHT, "expressions": palette.LIGHT},
        "dark": {"page": palette.PAGE_DARK, "expressions": palette.DARK},
    }
    # Markup: what is not escaped again is our own files, Plotly, and JSON that to_json has escaped.
    own = Markup("\n").join(Markup(_text(name)) for name in ("report.js", *more))
    scripts = [_plotly_script(), own] if figures else []
    shared, arrays = share_arrays(figures)
    return (
        _environment()
        .get_template(template)
        .render(
            **facts,
            expressions=EXPRESSIONS,
            uncertain_name=palette.UNCERTAIN_NAME,
            palette=palette,
            style=Markup(_text("report.css")),
            script_policy=" ".join(f"'{_digest(script)}'" for script in scripts) or "'none'",
            media_policy=f"; media-src {media}" if media else "",
            scripts=scripts,
            payload=Markup(to_json({"themes": themes, "figures": shared, "arrays": arrays})),
        )
    )


def _digest(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _text(name: str) -> str:
    return resources.files("fertrack.reporting").joinpath("templates", name).read_text(encoding="utf-8")


def _plotly_script() -> Markup:
    """Plotly.js, of which a report has the part it needs, made safe to stand in a ``<script>`` element."""
    try:
        text = resources.files("fertrack.reporting").joinpath("plotly_js", PLOTLY_FILE).read_text(encoding="utf-8")
    except OSError as error:
        raise ReportError(
            f"the charts' script is missing from the installed package ({reason_of(error)}): reinstall fertrack"
        ) from error
    return Markup(text.replace("</script", "<\\/script"))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fertrack.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        bytecode_cache=_kept_templates(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(wording, name) for name in _FILTERS} | {"sentence_of": sentence_of}
    return environment


def _kept_templates() -> jinja2.BytecodeCache | None:
    """Where compiled templates are kept between runs: compiling them takes a quarter of a second."""
    folder = cache_folder().parent / "templates"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    return jinja2.FileSystemBytecodeCache(str(folder)) if os.access(folder, os.W_OK) else None

"""The page's own files, and its colours."""

from __future__ import annotations

from importlib import resources

from starlette.responses import Response

from fertrack.imaging import palette
from fertrack.types import EXPRESSIONS

__all__ = ["load_assets", "palette_css"]

_TYPES = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


def load_assets() -> dict[str, Response]:
    """Every file of the page by its name, ready to be sent. Read once, so that no path ever comes from a request."""
    folder = resources.files("fertrack.web") / "static"
    assets = {
        file.name: Response(file.read_bytes(), media_type=_TYPES[file.name.rsplit(".", maxsplit=1)[1]])
        for file in folder.iterdir()
    }
    assets["palette.css"] = Response(palette_css(), media_type="text/css")
    return assets


def palette_css() -> str:
    """The report's colours as CSS variables: ``--page`` and so on for the page, ``--x-fear`` for expressions."""
    light = _variables(palette.PAGE_LIGHT, palette.LIGHT)
    dark = _variables(palette.PAGE_DARK, palette.DARK)
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"


def _variables(page: dict[str, str], expressions: dict[str, str]) -> str:
    names = {f"--{name}": colour for name, colour in page.items()}
    names |= {f"--x-{name}": expressions[name] for name in (*EXPRESSIONS, palette.UNCERTAIN_NAME)}
    return " ".join(f"{name}: {colour};" for name, colour in names.items())

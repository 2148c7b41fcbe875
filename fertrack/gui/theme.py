"""The report's colours as Qt takes them."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication

from fertrack.imaging import palette

__all__ = ["Theme", "system_theme"]


@dataclass(frozen=True)
class Theme:
    """Colours of a theme.

    Attributes:
        page: colours of the window's parts, as ``#rrggbb``.
        expressions: one for each expression, and one for "uncertain".
    """

    page: dict[str, str]
    expressions: dict[str, str]

    @classmethod
    def named(cls, name: str) -> Theme:
        """``"light"`` or ``"dark"``."""
        if name == "dark":
            return cls(palette.PAGE_DARK, palette.DARK)
        return cls(palette.PAGE_LIGHT, palette.LIGHT)

    def style_sheet(self) -> str:
        """Of the whole window; sizes are those of the system's font."""
        page = self.page
        return f"""
            QWidget {{ background: {page["page"]}; color: {page["text"]}; }}
            QFrame#card, QFrame#figures {{
                background: {page["surface"]}; border: 1px solid {page["rule"]}; border-radius: 10px;
            }}
            QFrame#card QLabel, QFrame#figures QLabel {{ background: transparent; }}
            QLabel#muted {{ color: {page["muted"]}; }}
            QLabel#heading {{ font-weight: 600; }}
            QLabel#banner {{
                background: {page["note-back"]}; border-left: 4px solid {page["accent"]}; padding: 8px;
                font-weight: 600;
            }}
            QLabel#problem {{
                background: {page["bad-back"]}; border-left: 4px solid {page["bad"]}; padding: 8px;
            }}
            QLabel#picture {{ background: #000000; color: #d7dbe2; border-radius: 10px; }}
            QPushButton, QLineEdit {{
                background: {page["surface"]}; border: 1px solid {page["muted"]}; border-radius: 7px; padding: 6px 14px;
            }}
            QPushButton:focus, QLineEdit:focus {{ border: 2px solid {page["accent"]}; padding: 5px 13px; }}
            QPushButton:hover {{ border-color: {page["accent"]}; }}
            QPushButton:disabled {{ color: {page["muted"]}; }}
            QPushButton#grave {{ color: {page["bad"]}; border-color: {page["bad"]}; }}
            QPushButton#on {{ background: {page["bad-back"]}; border-color: {page["bad"]}; font-weight: 600; }}
            QScrollArea {{ border: none; }}
        """


def system_theme() -> Theme:
    """Theme set on the desktop."""
    scheme = QGuiApplication.styleHints().colorScheme()
    return Theme.named("dark" if scheme == Qt.ColorScheme.Dark else "light")

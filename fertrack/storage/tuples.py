"""Rows as the driver gives them, for questions that read many."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa

__all__ = ["fetch_tuples"]


def fetch_tuples(connection: sa.Connection, statement: sa.Select[*tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The driver's own tuples: SQLAlchemy's row objects would take twice the time of everything else together.

    Column types that translate (moments, JSON) are not translated.
    """
    cursor = connection.execute(statement).cursor
    return [] if cursor is None else cast("list[tuple[Any, ...]]", cursor.fetchall())

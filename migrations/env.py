"""Alembic's environment. fertrack runs it itself (``fertrack db upgrade``), on a connection it has opened.

There is no alembic.ini and logging is not configured here. To write a new revision from a source tree::

    from alembic import command
    from alembic.config import Config
    from fertrack.storage.engine import open_database

    with open_database("scratch.db", create=True) as database, database.engine.connect() as connection:
        config = Config()
        config.set_main_option("script_location", "migrations")
        config.attributes["connection"] = connection
        command.revision(config, "what it does", autogenerate=True, rev_id="0002")
"""

from typing import Any

from alembic import context

from fertrack.storage import models as answer_models  # noqa: F401  # its tables belong to the metadata too
from fertrack.storage import recordings  # noqa: F401  # likewise
from fertrack.storage.models import Base, UtcDateTime


def render_item(kind: str, item: Any, _context: Any) -> str | bool:
    """Revisions stand on their own: they name database types, never the program's classes."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_item=render_item,
    render_as_batch=True,  # SQLite cannot alter a column: the table is rebuilt
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()

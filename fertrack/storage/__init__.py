"""The database: one schema for SQLite and PostgreSQL, one batched writer, and questions answered as DataFrames."""

import importlib
from types import ModuleType

__all__ = ["latency", "moments", "person_episodes", "queries", "resample", "statistics", "synchrony", "timing"]


def __getattr__(name: str) -> ModuleType:
    """The modules of questions, each imported when it is first asked for."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Sinks: where results go while a run is in progress."""

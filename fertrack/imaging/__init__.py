"""Geometry, alignment and drawing: pure functions of arrays and pixels."""

"""Conversion of published detector weights."""

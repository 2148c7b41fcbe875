"""Readers of labelled picture sets."""

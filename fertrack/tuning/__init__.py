"""Calibration, bias and diagnosis from labelled faces."""

"""Accuracy and calibration of expression classifiers."""

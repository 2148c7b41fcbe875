"""Scores of tracks and persons against ground truth."""

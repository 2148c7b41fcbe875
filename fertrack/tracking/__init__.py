"""SORT-style tracking: Kalman filter, assignment, track lives."""

"""SORT-style tracking: Kalman filter, assignment, track lives.

Reading order::

    config          options
    kalman          constant-velocity Kalman filter
    association     assignment of detections to tracks
    track           the tracker's output
    tracker         the tracker
    face_positions  interpolated face boxes of a stored run
"""

"""SORT-style tracking: Kalman filter, assignment, track lives.

Reading order::

    config          options
    kalman          constant-velocity Kalman filter
    appearance      abrupt changes of a track's face
    meetings        faces that cover others and go on in their boxes
    association     assignment of detections to tracks
    pace            usual time between images, and longer steps
    lives           the tracker's table of living tracks
    rejoin          lost tracks that new ones continue
    track           the tracker's output
    tracker         the tracker
    face_positions  interpolated face boxes of a stored run
"""

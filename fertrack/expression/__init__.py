"""Expression estimates: logits -> calibrated, smoothed probabilities -> labels.

Reading order::

    config       options of calibration and smoothing
    calibration  logits to calibrated probabilities and labels
    smoothing    averages of each track over time
    fold         both, frame by frame; for runs and for rescoring
    reliability  bins of a reliability diagram
"""

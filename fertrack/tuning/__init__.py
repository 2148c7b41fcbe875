"""Calibration, bias and diagnosis, from labelled faces or from a run.

Reading order::

    calibration_fit    calibration fitted on labelled faces
    precision_targets  whether thresholds reach the target precision
    calibration_file   fitted calibration as TOML and report
    bias_fit           class biases from labelled faces
    bias_profiles      numbered files of biases
    class_shares       class prior of a run, estimated
    checks             measures of a run's faces and labels, with limits
    symptoms           symptoms, causes and remedies in words
    remedies           effect of other settings
    diagnose           ``fertrack diagnose``
"""

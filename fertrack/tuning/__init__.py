"""Calibration, bias and diagnosis, from labelled faces or from a run.

Reading order::

    config             options of a fit
    calibration_fit    calibration fitted on labelled faces
    precision_targets  whether thresholds reach the target precision
    calibration_file   fitted calibration as TOML and report
    bias_fit           class biases from labelled faces
    bias_profiles      numbered files of biases
    class_shares       class prior of a run, estimated
    diagnosis          changes that were tried, and their effects
    checks             measures of a run's faces and labels, with limits
    remedies           effect of other settings
    symptoms           symptoms: checks, causes and remedies in words
    diagnose           diagnosis of a run
"""

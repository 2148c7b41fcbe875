"""Evaluation against ground truth: ``fertrack evaluate``.

Reading order::

    intervals    confidence intervals: score intervals and the bootstrap
    self_test    a scripted scene through the whole program: ``doctor --self-test``
    datasets/    readers of labelled image sets
    agreement/   estimates and people's codings, and the codings among themselves
    expression/  accuracy and calibration of classifiers
    tracking/    scores of tracks and identities
"""

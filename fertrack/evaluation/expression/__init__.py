"""Accuracy and calibration of expression classifiers, with confidence intervals.

Reading order::

    classify     inference on labelled images, with or without detection
    measures     accuracy, F1, calibration error and their kin
    scores       all measures of one classifier in one record
    figures      confusion matrix and curves as SVG
    page         HTML page of facts, tables and figures
    report       ``fertrack evaluate expression``, from labelled set to files
    corrections  a run's estimates against corrected labels
    model_card   the model card as Markdown
"""

"""Outputs of a run: named before it, fed during it, completed after it.

Reading order::

    plan      where each output of a video goes; refused before any work
    resume    runs that were cut off, found again
    products  what takes part in a run and is completed after it, one class each
"""

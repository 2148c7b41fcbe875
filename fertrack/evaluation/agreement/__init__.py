"""Agreement of a run's estimates with people's codings, and of the codings with one another.

Reading order::

    coefficients  kappa and intraclass correlation from sums over blocks of time, with intervals
    timelines     everybody's labels side by side in time
    by_time       the answer in time
    by_events     the answer in events
    by_intensity  the answer about intensities
    codings       the question about codings in files
    answer_table  what the answers share
"""

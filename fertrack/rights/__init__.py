"""People's rights in their data: purpose, retention, erasure, export.

Reading order::

    config           options: purpose, consent, retention
    purpose          purpose of a run: required, refused, notified
    person_export    everything held about a person, as files
    erasure_plan     everything known about somebody before they are erased
    erase            erasure of a person from videos, rows, reports and exports
    refresh_outputs  reports and exports written again after an erasure
"""

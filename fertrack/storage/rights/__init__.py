"""Rows that belong to one data subject: found, redacted, erased.

Reading order::

    data_subject    a person and every row about them
    personal_data   the same as tables, for access requests
    sightings       boxes of faces over time
    erasure         rows deleted in one transaction
    name_redaction  names taken out of free text
    retention       runs deleted when they expire
"""

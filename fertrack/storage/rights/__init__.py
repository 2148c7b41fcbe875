"""Rows that belong to one data subject: found, redacted, erased.

Reading order::

    data_subject   a person, every row about them, and their name in free text
    personal_data  the same as tables, for access requests
    erasure        rows deleted in one transaction
    retention      runs deleted, one or all that expired
"""

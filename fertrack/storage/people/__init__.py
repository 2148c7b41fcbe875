"""Persons: their tracks, names, links, portraits and corrections.

Reading order::

    persons      persons of a run
    subjects     persons and tracks that answers are about
    links        re-identification results, stored
    actions      rename, merge, split, undo, forget
    audit        log of these actions
    thumbnails   one portrait of each person
    corrections  labels given by people
"""

"""Persons: their tracks, names, links, portraits and corrections.

Reading order::

    reference         persons as people name them: a name, P3, 3, ID 5
    plain_text        what names, labels and purposes may be made of
    persons           persons of a run
    subjects          persons and tracks that answers are about
    links             re-identification results, stored
    actions           rename, merge, split, undo, forget
    audit             log of these actions
    track_cuts        a track cut in two, and joined again
    thumbnails        one portrait of each person
    corrections       labels given by people
    corrected_labels  the same in place of the estimates, for all answers
"""

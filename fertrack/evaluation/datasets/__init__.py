"""Labelled face image sets, read as they are published.

Reading order::

    labelled_set  the one form that all readers give
    open          picks the reader for a path
    formats       RAF-DB, AffectNet, FER2013, FER+, CSV
    npz           images and labels in npz files
    apart         persons kept apart from learning
    ferplus       FER2013's images with the votes of FER+
"""

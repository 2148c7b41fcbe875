"""Anonymisation: faces made unrecognisable in images and videos.

Reading order::

    mosaic        pixelates a face region for good
    anonymiser    which faces of a stored run to hide, and their boxes in every frame
    redact_video  pixelates people in a video that is drawn already, in place
"""

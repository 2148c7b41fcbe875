"""Sinks: consumers of results while a run is in progress.

Reading order::

    config        options of the video
    database      rows in batches
    video         the annotated video
    draft         file that it grows in, of one writer at a time
    encoder       images to a video file with exact times
    audio         sound of the source
    finalise      sound added, index in front, renamed
    thumbnails    best crop of each track
    reid          re-identification during a run
    reidentifier  its rows, stored when the run ends
"""

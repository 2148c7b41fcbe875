"""Re-identification: tracks of the same face joined to one person.

Reading order::

    config      options
    quality     how well a face crop serves recognition
    gallery     best crops of each track, in bounded memory
    tracklets   a track as re-identification sees it
    motion      pairs of tracks that cannot be one person
    clustering  average linkage with forbidden pairs
    linker      re-identification of a finished run
    live        re-identification during a live run
"""

"""Scores of tracks and identities against ground truth.

Reading order::

    mot            reader of MOTChallenge files
    scores         HOTA, IDF1 and MOTA by TrackEval
    actors         heads cut out of single-person clips
    scenes         composed videos with known identities
    scene_scripts  the scripts of these scenes
    films          who plays whom, with the clips of a folder
    face_tracking  fertrack run on the scenes, end to end
    face_scores    its scores as a table and as quality figures
"""

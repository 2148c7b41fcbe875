"""Geometry, alignment and drawing: pure functions of arrays and pixels.

Reading order::

    geometry      boxes, similarity transforms, face measures
    alignment     face in a frame to an upright crop
    face_quality  pose of a head, and how well a face can be read
    surroundings  thumbnails of faces and what is around them
    palette       one colour per expression
    text          text of any script on an image
    label_layout  places for labels that do not overlap
    track_labels  label and colour of a track
    debug_panels  panels of timings, crops and probabilities
    overlay       boxes and labels drawn on a frame
"""

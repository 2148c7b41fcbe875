"""The frame loop: detect, align, classify, track, smooth.

Reading order::

    config         options of shots and scheduling
    analyzer       the stateless half: inference on one frame
    pipeline       the frame loop: infer, update, hand on
    interpolation  faces between two detected frames
    scheduler      sequential or threaded inference, in frame order
    shots          hard cuts
    stage_clock    time of every stage
"""

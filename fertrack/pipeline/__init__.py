"""The frame loop: detect, align, classify, track, smooth."""

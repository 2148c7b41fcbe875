"""What counts as an episode, unless somebody says otherwise: one rule for answers, reports and exports."""

__all__ = ["LONGEST_BREAK_S", "LONGEST_GAP_S", "SHORTEST_EPISODE_S"]

SHORTEST_EPISODE_S = 0.2
"""Shorter episodes are passed over: a handful of frames at the edge of two expressions."""

LONGEST_GAP_S = 0.5
"""Time uncertain or not seen that interrupts an episode for no longer than this does not end it."""

LONGEST_BREAK_S = 1.0
"""After a longer time between two episodes nobody knows what came between, so it is no transition."""

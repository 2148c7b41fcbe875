"""From tracks to persons: which tracks of a run, or of several, show the same face."""

"""Re-identification: tracks of the same face joined to one person."""

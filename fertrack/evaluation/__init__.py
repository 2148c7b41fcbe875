"""Measurements of fertrack itself: speed beside a peer, and memory."""

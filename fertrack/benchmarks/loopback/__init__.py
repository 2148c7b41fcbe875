"""Streams served on this machine, to measure and test network sources."""

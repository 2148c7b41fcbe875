"""Classifiers in other formats, with proof that they answer alike."""

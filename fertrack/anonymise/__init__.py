"""Faces made unrecognisable in pictures and videos."""

"""Runs and persons in notebooks.

Reading order::

    views   tables and timelines
    figure  Plotly figure of a timeline
"""

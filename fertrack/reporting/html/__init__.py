"""The HTML report of a run, and of several runs compared: one file, offline.

Reading order::

    run_page          the report of one run
    page              template, style and content policy
    summary           sentences about persons, and key moments
    run_facts         source, networks, cautions and speed in words
    persons           facts about each person, presence and transitions
    charts            timeline charts
    section_charts    presence, reliability and speed charts
    axes              time axis and marks
    lines             thinned lines, and bands of spread around them
    video             the video beside the report
    comparison        the report of several runs
    comparison_facts  differences between runs and what they forbid to conclude
    pdf               the same on paper
    wording           numbers in words
"""

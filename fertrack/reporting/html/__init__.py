"""The HTML report of a run, and of several runs compared: one file, offline.

Reading order::

    run_page          the report of one run
    page              template, style and content policy
    run_facts         source, networks and cautions in words
    run_speed         speed of the run
    persons           facts about each person, and presence
    charts            timeline charts
    section_charts    presence, reliability and speed charts
    axes              time axis and marks
    bands             spread of single frames around the smoothed line
    thinning          fewer points without hiding peaks
    transition_table  transitions between expressions
    video             the video beside the report
    comparison        the report of several runs
    comparison_facts  differences between runs and what they forbid to conclude
    wording           numbers in words
"""

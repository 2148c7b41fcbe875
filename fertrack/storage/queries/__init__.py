"""Questions about stored runs, answered as DataFrames: the one public place for them.

Each is a function of a ``StoredRun``, those of ``statistics``, ``conditions``, ``moments`` and ``latency`` also
of all runs, as ``Database.run`` and ``Database.runs`` open them::

    from fertrack.storage.queries.statistics import transitions
    from fertrack.storage.queries.timeline import episodes, timeline

    with fertrack.open_database("fertrack.db") as database:
        with database.run("last") as run:    # all of it as it is at one moment
            rows, kept = timeline(run), episodes(run)
        with database.runs("all") as runs:
            followed = transitions(runs)

Reading order::

    timeline         faces, persons, episodes and timelines of one run
    faces            rows as numpy columns
    segments         algebra of time segments
    episode_store    stored episodes
    batches          runs, subjects and coverage that answers share
    statistics       episodes of persons, shares and transitions
    groups           shares of time of runs that were stated to be alike
    readability      quality of faces, and time in which they could not be read
    moments          moments at which conditions hold
    markers          named moments, imported from CSV
    conditions       conditions from markers: shares and transitions by condition
    epochs           probabilities around markers, trial by trial
    latency          reaction times after markers
    synchrony        two persons compared over time
    resample         timelines at an even rate
    events           cuts and other events of frames
    timing           speed of a run over time
    run_faces        all faces of a run in columns
    replay           stored frames as results
    column_docs      meaning of every column
"""

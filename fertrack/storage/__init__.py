"""The database: one schema for SQLite and PostgreSQL, one batched writer, questions answered as DataFrames.

Reading order::

    config         options of the database
    engine         the database, opened or created
    connection     addresses and driver errors
    schema         schema revisions and migrations
    models         tables
    readable       columns and views for SQL
    answer_models  tables of episodes and markers
    rights_models  tables of thumbnails, files and erasures
    recordings     tables and questions of what was recorded, and what failed
    packing        vectors as bytes
    facts          everything known of one run
    stored_run     one run, or all, within one read transaction
    unfinished     what the networks saw in runs that can be resumed
    writer         rows of a run, batch by batch
    runs           list of the runs, and what is stored with a new one
    rescore        labels computed again from stored logits
    written_files  files written from each run
    maintenance    check, compact, back up
    queries/       questions about runs
    people/        persons, names, links
    rights/        data subjects, erasure, retention
"""

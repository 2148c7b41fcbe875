"""The command line: parse, build, run, exit code. No analysis happens here.

Reading order::

    main           the ``fertrack`` command, errors and exit codes
    groups         panels of ``--help``; groups with one command for the ordinary case
    options        options that several commands share
    output         tables, JSON and CSV on stdout; progress on stderr
    process        ``process`` and ``demo``
    batch/         ``process`` with several files
    live           ``live``
    report         ``report``
    render         ``render``
    query          ``runs``, ``timeline`` and ``rescore``
    answers        ``episodes`` and ``moments``
    stats          ``stats``
    markers        ``markers``
    export         ``export`` and ``import-labels``
    person         ``person``: names, merges, splits
    person_rights  ``person export`` and ``person erase``
    privacy        ``privacy``: notice and purge
    diagnose       ``diagnose``
    evaluate       ``evaluate tracking`` and ``evaluate faces``
    expression     ``evaluate expression`` and ``evaluate corrections``
    models/        ``models``: weights, calibration, biases, training, export
    database       ``db``
    setup          ``config`` and ``doctor``
    guide          ``guide``: the manual
"""

"""The command line: parse, build, run, exit code. No analysis happens here.

Reading order::

    main           the ``fertrack`` command, errors and exit codes
    options        options that several commands share
    output         tables, JSON and CSV on stdout; progress on stderr
    process        ``process`` and ``demo``
    live           ``live``
    report         ``report``
    render         ``render``
    query          ``runs``, ``timeline`` and ``rescore``
    answers        ``stats``, ``episodes``, ``moments`` and ``markers``
    export         ``export`` and ``import-labels``
    person         ``person``: names, merges, splits
    person_rights  ``person export`` and ``person erase``
    privacy        ``notice`` and ``purge``
    diagnose       ``diagnose``
    calibrate      ``calibrate``
    bias           ``bias``
    evaluate       ``evaluate tracking`` and ``evaluate faces``
    expression     ``evaluate expression`` and ``evaluate corrections``
    train          ``train``
    models         ``models``: weights and licences
    model_export   ``models export`` and ``models bench``
    database       ``db``
    setup          ``config`` and ``doctor``
"""

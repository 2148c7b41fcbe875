"""Reports: the HTML report and the CSV files of one run.

Reading order::

    config        options of reports and episodes
    html/         the HTML report
    exports/      files for other programs
    notebook/     tables and charts in notebooks
    epoch_figure  means around markers as an image
"""

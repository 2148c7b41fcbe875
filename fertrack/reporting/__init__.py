"""Reports and exports of stored runs: HTML pages, tables, notebooks.

Reading order::

    config     options of reports and episodes
    html/      the HTML report
    exports/   files for other programs
    notebook/  tables and charts in notebooks
"""

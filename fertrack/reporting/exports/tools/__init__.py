"""Runs as files of other programs, a format a file, each with a function ``write``.

Reading order::

    content     a run as formats of events see it
    text_files  several text files of one export, all or none
    eaf         ELAN, with the probability curves under the video
    textgrid    Praat
    boris       a BORIS project, and the spreadsheet that it imports
    facereader  logs in the shape of FaceReader's
    bids        events of the Brain Imaging Data Structure
    openface    OpenFace's column names
    wide        a row a time, a block of columns a person
    xlsx        an Excel workbook
    sqlite      a flat SQLite file
    duckdb      the same as a DuckDB file
"""

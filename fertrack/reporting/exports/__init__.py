"""Exports of a run for other programs, and the import of corrected labels.

Reading order::

    registry      all formats by name
    selection     run, person and episodes to export
    csv_rows      tables as CSV
    csv_export    faces and episodes as CSV
    rows          faces as JSON Lines or Parquet
    subtitles     episodes as SRT, VTT or ASS
    elan          episodes for ELAN
    mot           tracks as MOTChallenge text
    tools/        ELAN, Praat, BORIS, FaceReader, BIDS, OpenFace, wide tables, Excel
    label_import  corrected labels read from CSV
"""

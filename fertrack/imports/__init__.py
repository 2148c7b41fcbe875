"""Times that other programs wrote: stimuli, conditions and human coding, a format a file, each with ``read``.

Reading order::

    event          one moment or stretch, with its label
    recognise      recognises a file and reads it
    synchronise    offset and stretch between two clocks
    marker_import  events stored as a run's markers, moved to the video's clock
    marker_table   our own CSV, or any other with named columns
    bids_events    events of the Brain Imaging Data Structure
    psychopy       PsychoPy's table of trials
    xdf            recordings of Lab Streaming Layer
    elan_file      ELAN
    praat          Praat
    boris_coding   BORIS: projects and exported tables
    webvtt         subtitles
    other_tools    faces of Py-Feat and OpenFace
    run_import     such faces stored as a run
    coding         people's coding of what each person shows
    coding_labels  the same as labels of faces
"""

"""Many recordings: from lists and folders to runs, in processes of their own, one bad file never in the way of others.

Reading order::

    inputs    files and their own options, from patterns, folders and lists
    one_file  one file: done already, failed before, or processed
    workers   files handed to processes, in order; what ends a process ends one file
"""

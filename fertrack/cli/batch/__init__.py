"""Parts of ``process`` that are about several files: handing them out, and showing how far they are.

Reading order::

    run       from the command line to a batch, and its closing table
    progress  one line for all files, and one for each under way
"""

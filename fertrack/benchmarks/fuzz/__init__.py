"""Broken input for every reader: a clear sentence or a result, never a traceback, a hang or growing memory.

Inputs are made from a seed each and never stored: what crashes other people's software is told in words.

Reading order::

    measure   the inputs counted, and what was found
    material  whole files to be broken
    mutate    whole content to broken content, by seed
    readers   what is read, from what, and how
    child     a process that reads, with limits of time and memory
"""

from fertrack.benchmarks.fuzz.measure import main

__all__ = ["main"]

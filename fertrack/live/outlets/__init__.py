"""Live results for other programs while they come: Lab Streaming Layer, JSON lines.

Reading order::

    config       which outlets a live run has
    updates      what outlets send: results, and onsets, ends, appearances and losses told from them
    outlet_sink  hands each result to the outlets
    lsl          a stream a person, and one of markers
    jsonl        a line a result, to standard output or a socket
"""

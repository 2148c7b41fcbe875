"""Commands about networks: ``fertrack models``.

Reading order::

    weights    list, verify, pull, describe, convert; the group itself
    calibrate  ``models calibrate``
    bias       ``models bias``
    train      ``models train``
    export     ``models export``
"""

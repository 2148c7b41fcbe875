"""Expression classifiers, one adapter a file; each has ``Options`` and ``build(options, bundle)``."""

"""The manual: one Markdown page a reader and a need, shipped with the package; ``fertrack guide`` shows it.

Reading order::

    pages  the topics, and the text of a page
"""

"""Windows event logs (.evtx).

``reader`` gives the records and ``chunk`` accounts for them. ``span`` counts the records of a sound chunk, and
``search`` tells whether it must be decoded at all. ``binxml`` decodes what the ``evtx`` library does not. ``losses``
says what is missing from the file as a whole, and ``pieces`` reads it a second time.
"""

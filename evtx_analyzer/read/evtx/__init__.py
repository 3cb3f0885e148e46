"""Windows event logs (.evtx).

``reader`` yields the records and ``chunk`` accounts for them; ``aligned`` finds the chunks. ``span`` counts the records
of a sound chunk, and ``search`` tells whether it must be decoded at all. ``unfolding`` keeps crafted chunks from the
``evtx`` library, and ``binxml`` decodes the records that it does not. ``losses`` says what is missing from the file as
a whole, and ``pieces`` reads it a second time.
"""

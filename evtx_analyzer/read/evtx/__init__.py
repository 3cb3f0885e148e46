"""Windows event logs (.evtx): frames, chunks, search and decoding."""

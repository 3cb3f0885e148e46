"""The data that the stages pass on: frozen, without behavior.

``records`` are what a reader gives, ``events`` what a normalizer makes of them, ``evidence`` what correlation makes of
those, and ``findings`` what the diagnosis says. ``origin`` and ``certificate`` hold the parts that all of them share.
"""

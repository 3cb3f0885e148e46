"""The data that the stages pass on: frozen, without behavior.

``records`` are what readers yield, ``events`` what normalizers make of them, ``evidence`` what correlation makes of
events, and ``findings`` the conclusions of the diagnosis. ``origin`` and ``certificate`` hold parts that all of these
share.
"""

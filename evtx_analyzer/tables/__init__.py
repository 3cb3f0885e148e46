"""Decoded events and operations as tables, for the command ``events`` and the library.

``capi2`` and ``normalize/columns.py`` hold the columns, ``select`` picks the rows, ``write`` makes files of them and
``frames`` pandas data, and ``story`` words operations as text.
"""

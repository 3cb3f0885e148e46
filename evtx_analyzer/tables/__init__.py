"""Decoded events and operations as tables, for the command ``events`` and the library.

``capi2`` and ``smtp`` hold the columns, ``select`` picks the rows, ``write`` and ``frames`` give them as files and as
pandas data, and ``story`` tells operations in words.
"""

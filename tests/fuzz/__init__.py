"""Fuzzing of every reader, the archives, rule files and saved reports: ``python -m tests.fuzz TARGET --minutes N``.

An input is a made one (``corpus``), changed at random (``mutation``). What a target raises that is no error of ours, or
takes too long for, is a fault; the input that did it is written down. Where atheris is installed (an extra, for it has
no wheels for Windows) it can guide the changes by coverage.
"""

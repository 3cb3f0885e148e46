"""Sigma rules: pySigma parses them, this package evaluates them.

``conditions`` is the data, ``from_pysigma`` makes it, ``match`` runs it, and ``literals`` says what a search may look
for before it is run.
"""

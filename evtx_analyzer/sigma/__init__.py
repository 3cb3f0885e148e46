"""Evaluate Sigma rules over events; pySigma parses them.

``conditions`` holds a parsed condition as data, ``from_pysigma`` makes it, ``match`` evaluates it, and ``literals``
returns the texts that a matching event must hold, so that a search can skip what cannot match.
"""

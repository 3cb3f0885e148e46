"""Incidents against causes: what supports each cause, what speaks against it, and its grade.

``scene`` holds an incident with what causes ask of it, ``observations`` says which of a cause's hold, ``grade`` what
the grades mean, ``weigh`` makes the findings, ``sentences`` and ``wording`` say them, and ``verdict`` says the result
in one sentence.
"""

"""Incidents against causes: what supports each cause, what speaks against it, and its grade.

``scene`` holds an incident with what causes ask of it, ``grade`` the meaning of the grades, ``weigh`` makes the
findings, ``wording`` fills their sentences, and ``verdict`` says the result in one sentence.
"""

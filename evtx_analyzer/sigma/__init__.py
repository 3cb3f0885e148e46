"""Sigma rules: parsed by pySigma, evaluated here."""

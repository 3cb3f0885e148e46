"""Incidents against causes: what supports each cause, what speaks against it, and its grade."""

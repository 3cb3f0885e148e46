"""Matches to incidents: sessions, chain operations, and the links between them."""

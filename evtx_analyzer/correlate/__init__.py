"""Refusals and operations to incidents: the links between them, and the facts that surround each."""

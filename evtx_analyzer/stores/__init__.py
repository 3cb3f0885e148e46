"""Build the chain of the certificate that a machine sends from its exported certificate stores, offline.

``assemble`` makes stores of exported entries, ``candidates`` finds the certificates in question for an incident,
``chain`` builds a chain, and ``views`` makes the view of it with the ``fields`` on which signals run.
"""

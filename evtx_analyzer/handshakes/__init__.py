"""Read SMTP connections of a network trace: TCP streams, the clear text before STARTTLS, the TLS handshake, its chains.

``flows`` puts packets together to streams, ``observe`` makes the handshake of a connection. For that, ``smtp`` reads
the clear text, ``tls`` the records and messages, and ``chains`` the certificates.
"""

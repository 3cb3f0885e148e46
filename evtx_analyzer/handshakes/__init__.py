"""Network traces of SMTP: TCP put together, the words before STARTTLS, the TLS handshake, and what its chains show."""

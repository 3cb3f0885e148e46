"""Certificate stores of a machine, and the chain of the certificate that it sends, built from them offline."""

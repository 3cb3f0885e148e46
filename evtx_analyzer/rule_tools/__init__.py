"""Commands about rules: their cases, and conversion."""

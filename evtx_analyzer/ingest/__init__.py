"""Sources to evidence, with an account of what was read and what was lost."""

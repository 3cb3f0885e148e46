"""Sample cases and what builds them; not part of the package. ``python -m samples.build`` makes every case again."""

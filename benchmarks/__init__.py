"""How fast the analyzer is beside its peers, on inputs that it makes itself: ``python -m benchmarks``."""

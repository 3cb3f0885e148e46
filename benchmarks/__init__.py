"""Programs that measure; each makes its own input and prints ratios."""

"""Tools for those who write rules: cases that a rule must pass, and conversion to the queries of a SIEM."""

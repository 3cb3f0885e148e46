"""CAPI2 events to certificate checks with their chains."""

"""CAPI2 events to operations: certificate checks with their chains, and what was done for them."""

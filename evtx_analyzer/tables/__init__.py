"""Tables of decoded events, for exports and the library."""

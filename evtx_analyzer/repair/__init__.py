"""Whether a fix worked: what changed after mail was refused, and what that says of the cause."""

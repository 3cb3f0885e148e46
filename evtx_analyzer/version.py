"""The version of the program, from which the package metadata take it: reading those would cost 20 ms."""

VERSION = "0.1.0"

"""The version of the program, which the package metadata takes from here: asking for those costs 20 ms."""

VERSION = "0.1.0"

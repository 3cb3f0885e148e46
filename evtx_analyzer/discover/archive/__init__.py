"""Archives as streams: members of zip, tar, 7z, cab and single compressed files."""

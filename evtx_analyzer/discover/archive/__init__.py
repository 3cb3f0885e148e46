"""Read the members of archives as streams: zip, tar, 7z, cab and single compressed files.

``expand`` walks an archive and those inside of it, ``formats`` has a reader for each kind, and ``limits`` bounds what
is read.
"""

"""The scrub: the content of every object against the checksum of its row, a little at a time."""

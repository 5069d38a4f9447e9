"""The floors: the least that somebody could write for the same effect."""

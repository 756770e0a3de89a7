"""Feature extractors for distances between sets of pictures, one file each."""

"""One file per entry; the file name is its name in a config."""

"""One file per stage; the file name is its name in a config and on the command line."""

"""One file per scorer; the file name is its name in a config."""

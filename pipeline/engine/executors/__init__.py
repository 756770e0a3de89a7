"""One file per executor; the file name is its name in a config."""

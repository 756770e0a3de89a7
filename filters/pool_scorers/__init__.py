"""One file per pool scorer; the folder is the registry."""

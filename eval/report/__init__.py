"""The report: one self-contained page from the files of a pool and a run."""

"""One file per sampler: velocity field and noise in, samples out. The file name is its name in a config."""

"""One file per trainable system: network, objective and how to use what was learnt. The file name is its name."""

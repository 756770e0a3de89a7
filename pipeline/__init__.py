"""The only package that imports Ray: stages, runner, command line."""

"""`python -m pipeline` is `winnow`, for a checkout that is not installed."""

from pipeline.cli import main

if __name__ == "__main__":
    main()

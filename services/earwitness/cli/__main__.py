"""`python -m earwitness.cli`: the same as the `earwitness` command."""

from earwitness.cli import main

if __name__ == "__main__":
    main()

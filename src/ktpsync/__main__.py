"""``python -m ktpsync``: the command line."""

from ktpsync.cli import main

if __name__ == "__main__":
    main()

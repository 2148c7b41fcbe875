"""``python -m fertrack`` is the same as ``fertrack``."""

from fertrack.cli.main import main

if __name__ == "__main__":
    main()

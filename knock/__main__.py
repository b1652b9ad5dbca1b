"""``python -m knock`` is the command ``knock``."""

from knock.cli.main import main

if __name__ == "__main__":
    main()

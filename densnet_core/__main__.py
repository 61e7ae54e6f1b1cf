"""``python -m densnet_core`` is the command ``densnet``; torchrun needs a module."""

from densnet_core.cli.app import main

if __name__ == "__main__":
    main()

"""The `densnet` command."""

import os

# Before typer is imported: help in plain text takes a third of the time, most of it the import of rich.
os.environ.setdefault("TYPER_USE_RICH", "0")

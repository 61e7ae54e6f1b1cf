"""The `densnet` command."""

"""The configuration schema and its reader."""

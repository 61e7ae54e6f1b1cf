"""Printing that every verb shares."""

import json
import sys
from typing import Any, Final

from rich.console import Console
from rich.table import Table

_NO_TERMINAL_WIDTH: Final = 500


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout; a number that is not finite is a defect and raises ``ValueError``."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2, allow_nan=False)  # escapes, which every reader of JSON understands
    print(text)


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    """Print a table on stdout, folded to the terminal; in a pipe or a file a row stays on one line."""
    width = None if sys.stdout.isatty() else _NO_TERMINAL_WIDTH
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=width, highlight=False, emoji=False, markup=False).print(table)

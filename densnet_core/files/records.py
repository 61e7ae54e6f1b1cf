"""Plain data as JSON files that are either the old or the new one, never a part."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from densnet_core.errors import InputError


def write_json(path: str | Path, record: Mapping[str, Any]) -> None:
    """Write a record so that the file is either the old or the new one, never a part.

    Raises
    ------
    InputError
        If a number is not finite, which JSON cannot hold, or the folder cannot be written.
    """
    target = Path(path)
    try:
        text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise InputError(f"{target} was not written: {error}.") from error
    try:
        with NamedTemporaryFile("w", encoding="utf-8", dir=target.parent, prefix=".", delete=False) as file:
            temporary = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        raise InputError(f"Cannot write {target}: {error.strerror}.") from error

"""Frames of XYZ and extended XYZ files as the file has them: keys of the header and words by column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import DataError

PLAIN: Final = "species:S:1:pos:R:3"
"""The columns of a frame whose header names none."""
_KEY: Final = re.compile(r"""([^\s="]+)\s*=\s*("(?:[^"\\]|\\.)*"|\{[^}]*\}|\[[^\]]*\]|\S+)""")
_KEY_OF_COMMENT: Final = re.compile(r"""([A-Za-z]\w*)\s*[:=]\s*("[^"]*"|\{[^}]*\}|\[[^\]]*\]|[^\s,;]+)""")


@dataclass(frozen=True, eq=False)
class XYZFrame:
    """One frame of a file.

    Parameters
    ----------
    source : Path
    index : int
        Of the frame in the file, from 0.
    line : int
        Of the header, from 1.
    header : mapping
        Values by key, without quotes. Of a plain file these are what its comment looks to say.
    columns : mapping
        (n_atoms, width) words by the name of the column.
    is_extended : bool
        Whether the header names the columns; otherwise it is a comment that may be any text.
    text : str
        What the header says besides its keys.
    """

    source: Path
    index: int
    line: int
    header: Mapping[str, str]
    columns: Mapping[str, list[list[str]]]
    is_extended: bool
    text: str

    @property
    def where(self) -> str:
        """File, line and frame, for messages."""
        return f"{self.source}, line {self.line}, frame {self.index}"

    @property
    def found(self) -> str:
        """Keys and columns, for messages."""
        return ", ".join([*sorted(set(self.header) - {"Properties"}), *(f"column {name}" for name in self.columns)])

    @property
    def n_atoms(self) -> int:
        return len(self.columns["pos"])

    def words(self, name: str) -> Any:
        """Of a column (n_atoms, width), else of a key (n,); none if there is neither."""
        if name in self.columns:
            return self.columns[name]
        return self.header.get(name, "").replace(",", " ").split()

    def floats(self, quantity: str, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Finite numbers of a shape as the file has them; ``DataError`` if a column or key does not hold such."""
        words = self.words(name)
        try:
            values = np.array(words, dtype=np.float64)
        except ValueError:
            lines = [row for row, own in enumerate(words) if name in self.columns and not _are_numbers(own)]
            place = f", line {self.line + 1 + lines[0]}" if lines else f", line {self.line}"
            raise DataError(f"{self.source}{place}: {quantity} is not made of numbers. Found: {self.found}.") from None
        if values.shape == (*shape, 1):
            values = values.reshape(shape)
        if values.shape != shape:
            raise DataError(f"{self.where}: {quantity} must have shape {shape}, not {values.shape}.")
        if not np.isfinite(values).all():
            raise DataError(f"{self.where}: {quantity} is not finite. Found: {self.found}.")
        return values


def read_frames(path: str | Path) -> Iterator[XYZFrame]:
    """The frames of a file, one after the other; a byte-order mark is passed over.

    Raises
    ------
    DataError
        If the file cannot be read or is not whole, a key is there twice, or rows do not have the columns that the
        header names; the message names the line.
    """
    source, is_empty = Path(path), True
    try:
        with source.open(encoding="utf-8-sig") as file:
            for frame in _frames(source, file):
                is_empty = False
                yield frame
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source} cannot be read: it is not text in UTF-8 ({error}); save it as such.") from error
    if is_empty:
        raise DataError(f"{source} holds no frame; expected the XYZ format (count, header, one line per atom).")


def _frames(source: Path, file: TextIO) -> Iterator[XYZFrame]:
    number, index = 0, 0
    while line := file.readline():
        number += 1
        if not line.strip():
            continue
        try:
            count = int(line)
        except ValueError:
            count = 0
        if count < 1:
            raise DataError(f"{source}, line {number}: expected the number of atoms, found {line.strip()!r}.")
        comment = file.readline()
        rows: list[list[str]] = []
        for _ in range(count):
            row = file.readline()
            if not row.strip():
                raise DataError(f"{source}, line {number}: {count} atoms announced, {len(rows)} lines follow.")
            rows.append(row.split())
        header, text, is_extended = _header(f"{source}, line {number + 1}", comment)
        columns = _columns(source, number + 1, header["Properties"] if is_extended else None, rows)
        yield XYZFrame(source, index, number + 1, header, columns, is_extended, text)
        number, index = number + count + 1, index + 1


def _header(where: str, comment: str) -> tuple[dict[str, str], str, bool]:
    """Keys, what is left of the line, and whether it names the columns."""
    is_extended = re.search(r"(?<!\S)Properties\s*=", comment) is not None
    pattern = _KEY if is_extended else _KEY_OF_COMMENT
    pairs = pattern.findall(comment)
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value.strip('"{}[]'))
    if is_extended and len(values) < len(pairs):
        twice = ", ".join(key for key, said in values.items() if len(said) > 1)
        raise DataError(f"{where}: the header has {twice} more than once; keep one.")
    # Free text may repeat words; different values stand side by side, so that none is taken to be the right one.
    header = {key: " and ".join(dict.fromkeys(said)) for key, said in values.items()}
    return header, pattern.sub(" ", comment).strip(), is_extended


def _columns(source: Path, line: int, properties: str | None, rows: list[list[str]]) -> dict[str, list[list[str]]]:
    where, words = f"{source}, line {line}", (properties or PLAIN).split(":")
    columns: dict[str, list[list[str]]] = {}
    widths: dict[str, int] = {}
    start = 0
    try:
        for name, width in zip(words[::3], map(int, words[2::3]), strict=True):
            if width < 1 or name in columns:
                raise ValueError(name)
            columns[name] = [row[start : start + width] for row in rows]
            widths[name] = width
            start += width
    except ValueError:
        raise DataError(f"{where}: Properties={properties} cannot be read; expected name:type:columns, ...") from None
    for name, width in (("species", 1), ("Z", 1), ("pos", 3), ("masses", 1), ("fragment", 1)):
        if widths.get(name, width) != width:
            many = "one column" if width == 1 else f"{width} columns"
            raise DataError(f"{where}: Properties={properties}; {name} must be {many}.")
    for number, row in enumerate(rows, line + 1):
        if len(row) != start:
            expected = f"Properties announce {start} columns; there are {len(row)}"
            if properties is None:
                expected = f"expected 'symbol x y z' (other columns: name them, Properties={PLAIN}:...)"
            raise DataError(f"{source}, line {number}: {expected}. Found: {' '.join(row)!r}.")
    if not {"species", "Z"} & set(columns) or "pos" not in columns:
        raise DataError(f"{where}: Properties={properties} lacks {'pos' if 'pos' not in columns else 'species'}.")
    return columns


def _are_numbers(words: list[str]) -> bool:
    try:
        return bool(np.isfinite([float(word) for word in words]).all())
    except ValueError:
        return False

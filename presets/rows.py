"""Reads the rows of a JSONL, JSON or CSV file and says exactly where a broken one is.

All are read in constant memory.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from presets.errors import InvalidInput
from presets.json_array import ArrayReader, BrokenArray, NotText

#: Longer than any context window in use; a longer row is a file without line breaks.
MAX_ROW_BYTES = 8 * 1024 * 1024
#: Bytes read at a time; larger blocks were no faster and cost their size several times over.
_BLOCK_BYTES = 256 * 1024
TYPE_CHECKING = False
if TYPE_CHECKING:
    from _csv import Reader

_HOW_TO_WRITE = "Write one JSON object a line (JSONL), or one array of objects (JSON)."
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv"}
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Row:
    """One row; ``number`` counts rows from 1, ``line`` is where it ends in the file (0 in a JSON array)."""

    number: int
    line: int
    values: dict[str, Any]

    def where(self, path: Path) -> str:
        """Say where the row is, for messages."""
        return f"{path}, row {self.number}" + (f" (line {self.line})" if self.line else "")


@dataclass(frozen=True)
class Block:
    """Whole lines of a file; ``line`` (from 1) and ``offset`` in bytes are those of its first."""

    data: bytes
    line: int
    offset: int


def file_format(path: Path) -> str:
    """Return jsonl, json or csv; raises InvalidInput for a missing, empty or unknown file.

    A ``.json`` file with one object a line is read as JSONL.
    """
    kind = _SUFFIXES.get(path.suffix.lower())
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder, not a file.", remedy="Give a .jsonl, .json or .csv file.")
    with _opened(path) as file:
        start = file.read(4096)
    if kind is None:
        raise InvalidInput(
            f"{path}: the format {path.suffix or 'without a suffix'} is not read.",
            cause="JSONL (.jsonl, .ndjson), JSON (.json) and CSV (.csv) are.",
            remedy="Rename or convert the file.",
        )
    if not start.removeprefix(_BOM).strip():
        raise _empty(path)
    if kind == "json" and not start.removeprefix(_BOM).lstrip().startswith(b"["):
        return "jsonl"
    return kind


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows; raises InvalidInput where the file is broken, naming row, line, column or byte."""
    reader = {"jsonl": _read_jsonl, "json": _read_array, "csv": _read_csv}[file_format(path)]
    found = False
    for row in reader(path):
        found = True
        yield row
    if not found:
        raise _empty(path)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise InvalidInput(f"There is no file {path}.", remedy="Check the path.") from error
    except OSError as error:
        raise InvalidInput(f"{path} can't be read.", cause=str(error.strerror or error)) from error


def _empty(path: Path) -> InvalidInput:
    return InvalidInput(f"{path} has no rows.", remedy="Give a file with at least one row.")


def read_blocks(path: Path) -> Iterator[Block]:
    """Yield the file in blocks of whole lines; only a line that is too long is cut. Nothing is checked."""
    with _opened(path) as file:
        line, offset = 1, 0
        while data := file.read(_BLOCK_BYTES):
            if not data.endswith(b"\n"):
                data += file.readline(MAX_ROW_BYTES + 1)
            skip = len(_BOM) if offset == 0 and data.startswith(_BOM) else 0
            yield Block(data[skip:], line, offset + skip)
            line += data.count(b"\n")
            offset += len(data)


def _checked_lines(path: Path, block: Block) -> Iterator[tuple[int, bytes]]:
    """Yield (line number, line); raises InvalidInput for a line that is no text of a dataset."""
    offset = block.offset
    for number, line in enumerate(io.BytesIO(block.data), block.line):
        if len(line) > MAX_ROW_BYTES:
            raise InvalidInput(
                f"{path}, line {number} is over {MAX_ROW_BYTES // 1024 // 1024} MiB.",
                remedy="Split it, or write one row a line.",
            )
        check_text(path, line, number, offset)
        yield number, line
        offset += len(line)


def check_text(path: Path, data: bytes, line: int, offset: int) -> None:
    """Raise InvalidInput with the byte offset when ``data`` is not UTF-8 or holds NUL bytes."""
    nul = data.find(b"\0")
    place = f", line {line}" if line else ""
    if nul >= 0:
        raise InvalidInput(
            f"{path}{place} has a NUL byte at byte {offset + nul} of the file.",
            cause="UTF-16 text and damaged files have them.",
            remedy=f"Convert it: iconv -f UTF-16 -t UTF-8 {path} > converted{path.suffix}",
        )
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{path}{place} is not UTF-8 at byte {offset + error.start} of the file "
            f"(0x{data[error.start]:02x}).",
            remedy=f"Convert it, for example: iconv -f LATIN1 -t UTF-8 {path} > converted{path.suffix}",
        ) from error


def _read_jsonl(path: Path) -> Iterator[Row]:
    count = 0
    for block in read_blocks(path):
        for row in block_rows(path, block, count):
            yield row
            count = row.number


def block_rows(path: Path, block: Block, before: int) -> Iterator[Row]:
    """Yield the rows of a block of JSONL, which has ``before`` rows before it; raises InvalidInput."""
    for number, line in _checked_lines(path, block):
        if not line.strip():
            continue
        before += 1
        try:
            values = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _broken_json(path, line.decode().rstrip(), f"row {before}, line {number}", error) from error
        if not isinstance(values, dict):
            raise _not_an_object(f"{path}, row {before} (line {number})", values)
        yield Row(before, number, values)


def _read_array(path: Path) -> Iterator[Row]:
    with _opened(path) as file:
        number = 0
        try:
            for number, values in enumerate(ArrayReader(file, MAX_ROW_BYTES).values(), 1):
                if not isinstance(values, dict):
                    raise _not_an_object(f"{path}, row {number}", values)
                yield Row(number, 0, values)
        except BrokenArray as error:
            raise InvalidInput(
                f"{path}, row {number + 1}, line {error.line}, column {error.column}: broken JSON.",
                cause=str(error),
                remedy=_HOW_TO_WRITE,
            ) from error
        except NotText as error:
            check_text(path, error.data, 0, error.offset)
            raise


def _broken_json(path: Path, text: str, place: str, error: Exception) -> InvalidInput:
    """Name line and column: the standard parser counts them, msgspec only says the byte."""
    reason = str(error)
    try:
        json.loads(text)
    except json.JSONDecodeError as detail:
        reason = detail.msg
        column = f"column {detail.colno}"
        place = f"{place}, {column}" if place else f"line {detail.lineno}, {column}"
    except RecursionError:
        reason = "nested too deeply"
    return InvalidInput(
        f"{path}, {place or 'somewhere'}: broken JSON.",
        cause=reason,
        remedy=_HOW_TO_WRITE,
    )


def _not_an_object(where: str, value: object) -> InvalidInput:
    return InvalidInput(
        f"{where} is not an object with columns but {type(value).__name__}.",
        remedy='Write rows as {"prompt": "...", "response": "..."}.',
    )


def _read_csv(path: Path) -> Iterator[Row]:
    header, rows = open_csv(path)
    for number, line, cells in rows:
        yield Row(number, line, dict(zip(header, cells, strict=True)))


def open_csv(path: Path) -> tuple[list[str], Iterator[tuple[int, int, list[str]]]]:
    """Return the header and (row number, line, cells) of each row, as many cells as the header has.

    Raises InvalidInput, also while the rows are read.
    """
    csv.field_size_limit(MAX_ROW_BYTES)
    reader = csv.reader(_text_lines(path), strict=True)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise _broken_csv(path, 1, reader.line_num, error) from error
    _check_header(path, header)
    return header, _csv_cells(path, len(header), reader)


def _csv_cells(path: Path, width: int, reader: Reader) -> Iterator[tuple[int, int, list[str]]]:
    count = 0
    try:
        for cells in reader:
            if not cells:
                continue
            count += 1
            if len(cells) != width:
                raise InvalidInput(
                    f"{path}, row {count} (line {reader.line_num}) has {len(cells)} cells; "
                    f"the header has {width}.",
                    remedy='Put text with commas in quotes ("), and a quote inside them twice ("").',
                )
            yield count, reader.line_num, cells
    except csv.Error as error:
        raise _broken_csv(path, count + 1, reader.line_num, error) from error


def _broken_csv(path: Path, row: int, line: int, error: csv.Error) -> InvalidInput:
    return InvalidInput(
        f"{path}, row {row} (line {line}): broken CSV.",
        cause=str(error),
        remedy='Put text with commas or line breaks in quotes ("), and a quote inside them twice ("").',
    )


def _text_lines(path: Path) -> Iterator[str]:
    """Yield the lines as text; a block that is well is decoded at once, which is several times faster."""
    for block in read_blocks(path):
        if is_plain(block):
            yield from io.StringIO(block.data.decode(), newline="\n")
        else:
            for _, line in _checked_lines(path, block):
                yield line.decode()


def is_plain(block: Block) -> bool:
    """Return whether no line of the block needs a closer look: UTF-8, no NUL bytes, none too long."""
    if len(block.data) > MAX_ROW_BYTES or b"\0" in block.data:
        return False
    try:
        block.data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_header(path: Path, header: list[str]) -> None:
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(f"{path}: the header has the column {twice!r} twice.", remedy="Rename one.")

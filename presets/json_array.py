"""Reads a JSON array of any size row by row, in constant memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

_BLOCK_BYTES = 256 * 1024
_SPACE = re.compile(r"[ \t\r\n]*")


class BrokenArray(Exception):
    """The file is no array of JSON values; ``line`` and ``column`` count from 1."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(reason)
        self.line = line
        self.column = column


class NotText(Exception):
    """Bytes that are not UTF-8, or hold a NUL byte; ``offset`` is that of ``data`` in the file."""

    def __init__(self, data: bytes, offset: int) -> None:
        super().__init__("not text")
        self.data = data
        self.offset = offset


class ArrayReader:
    """Walks through the text of a file with a window of what has been read and is still needed."""

    def __init__(self, file: BinaryIO, max_row_chars: int) -> None:
        self._texts = _texts(file)
        self._max = max_row_chars
        self._text = ""
        self._at = 0
        self._line = 1
        self._column = 1

    def values(self) -> Iterator[Any]:
        """Yield the values of the array; raises BrokenArray, NotText."""
        if self._next_char() != "[":
            raise self._broken("Expecting an array", self._at)
        self._at += 1
        if self._next_char() != "]":
            yield self._value()
            while self._next_char() == ",":
                self._at += 1
                yield self._value()
        if self._next_char() != "]":
            raise self._broken("Expecting ',' delimiter", self._at)
        self._at += 1
        if self._next_char():
            raise self._broken("Extra data", self._at)

    def _value(self) -> Any:
        self._next_char()
        while True:
            try:
                _, end = _scan(self._text, self._at)
                break
            except json.JSONDecodeError as error:
                # Broken, or not read to its end yet.
                broken = self._broken(error.msg, error.pos)
                if len(self._text) - self._at > self._max or not self._fill():
                    raise broken from error
            except RecursionError as error:
                raise self._broken("nested too deeply", self._at) from error
        piece = self._text[self._at : end]
        try:
            # Stricter than the standard parser: no NaN, no half characters.
            value = msgspec.json.decode(piece)
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._broken(str(error), self._at) from error
        self._at = end
        return value

    def _next_char(self) -> str:
        """Skip white space and return the character there, "" at the end of the file."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def _fill(self) -> bool:
        """Read more, and let go of what is behind; False at the end of the file."""
        more = next(self._texts, "")
        self._line, self._column = self._place(self._at)
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)

    def _place(self, at: int) -> tuple[int, int]:
        lines = self._text.count("\n", 0, at)
        if not lines:
            return self._line, self._column + at
        return self._line + lines, at - self._text.rindex("\n", 0, at)

    def _broken(self, reason: str, at: int) -> BrokenArray:
        return BrokenArray(reason, *self._place(at))


_scan = json.JSONDecoder().raw_decode


def _texts(file: BinaryIO) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    while True:
        data = file.read(_BLOCK_BYTES)
        pending = decoder.getstate()[0]
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise NotText(pending + data, offset - len(pending)) from error
        if b"\0" in data:
            raise NotText(data, offset)
        if not data:
            return
        yield text.removeprefix("\ufeff") if offset == 0 else text
        offset += len(data)

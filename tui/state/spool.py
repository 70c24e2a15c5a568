"""The local copy of a remote log: a file, the offsets of its lines, and exact reads of any of them."""

from __future__ import annotations

import os
import re
import threading
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from tui.errors import FinetuiError

#: Of an existing file this much is indexed at once, the rest by ``index_head`` in a worker.
TAIL_BYTES = 1024 * 1024
#: Index and search work in pieces of this size: ``re`` and ``split`` keep the GIL for a whole call.
BLOCK_BYTES = 256 * 1024
#: A longer line (a progress bar without a newline) is read by its end only.
MAX_LINE_BYTES = 64 * 1024

_OVERWRITTEN = re.compile(r"^[^\n]*\r(?=[^\r\n])", re.MULTILINE)


class SpoolGap(FinetuiError):
    """Bytes arrived that do not continue the local copy; subscribe again at ``size``."""


class SpoolWriteFailed(FinetuiError):
    """The local copy can't be written."""


@dataclass
class Head:
    """Line starts found before the tail; void in another generation."""

    generation: int
    starts: array[int]
    complete: bool = False


class LogSpool:
    """A log file with line starts in memory (8 bytes a line); safe to feed and read from several threads.

    Line numbers count from the first indexed line: ``index_head`` returns how many lines came before.
    """

    def __init__(self, path: Path, *, tail_bytes: int = TAIL_BYTES) -> None:
        self.path = path
        #: Counts the resets, so that a view knows that its line numbers are void.
        self.generation = 0
        self._lock = threading.RLock()
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _write_failed(path, error) from error
        self._size = os.fstat(self._fd).st_size
        self._starts = array("Q")
        self._head_bytes = 0
        self._open_tail(tail_bytes)

    @property
    def size(self) -> int:
        """Bytes held; the offset to subscribe at."""
        return self._size

    @property
    def count(self) -> int:
        """Indexed lines; a last line without its newline counts."""
        with self._lock:
            return len(self._starts) - (self._starts[-1] == self._size)

    @property
    def whole(self) -> int:
        """Indexed lines that have their newline and can't change any more."""
        return len(self._starts) - 1

    @property
    def head_bytes(self) -> int:
        """Bytes at the start of the file that are not indexed yet."""
        return self._head_bytes

    def feed(self, offset: int, data: bytes) -> int:
        """Write the bytes of ``data`` that are new and return how many lines there are now.

        Raises SpoolGap when ``offset`` lies after the end, SpoolWriteFailed when the disk refuses.
        """
        with self._lock:
            if offset > self._size:
                raise SpoolGap(
                    f"the log continues at byte {offset}, but only {self._size} bytes are here",
                    remedy=f"read it again from byte {self._size}",
                )
            data = data[self._size - offset :]
            if data:
                self._write(data)
                self._starts.extend(_line_starts(data, self._size))
                self._size += len(data)
            return self.count

    def reset(self) -> None:
        """Forget everything: the remote file was replaced and its offsets start again at 0."""
        with self._lock:
            os.ftruncate(self._fd, 0)
            self._size = self._head_bytes = 0
            self._starts = array("Q", [0])
            self.generation += 1

    def read_lines(self, first: int, last: int) -> list[str]:
        """Return the lines first..last-1 as a terminal would leave them, without their newlines.

        Carriage returns overwrite, bytes that are not UTF-8 become U+FFFD; escape sequences are still in.
        """
        with self._lock:
            first, last = max(0, first), min(last, self.count)
            if first >= last:
                return []
            bounds = [*self._starts[first : last + 1]]
            if len(bounds) == last - first:
                bounds.append(self._size)
        if bounds[-1] - bounds[0] > MAX_LINE_BYTES + BLOCK_BYTES:
            return [self._long_line(start, end) for start, end in pairwise(bounds)]
        block = self._pread(bounds[-1] - bounds[0], bounds[0])
        base = bounds[0]
        return [settled(block[start - base : end - base]) for start, end in pairwise(bounds)]

    def blocks(self, first: int, stop: int | None = None) -> Iterator[tuple[int, int, str]]:
        """Yield (first line, line count, text) from line ``first`` on, each about 256 KB of whole lines.

        Lines of the text are separated by one newline and read as ``read_lines`` would give them.
        """
        generation = self.generation
        while generation == self.generation:
            with self._lock:
                limit = self.count if stop is None else min(stop, self.count)
                if first >= limit:
                    return
                last = self._line_after(self._starts[first] + BLOCK_BYTES, first + 1, limit)
                begin = self._starts[first]
                end = self._starts[last] if last < len(self._starts) else self._size
            if end - begin > BLOCK_BYTES + MAX_LINE_BYTES:
                text = "\n".join(self.read_lines(first, last))
            else:
                text = _settled_block(self._pread(end - begin, begin))
            yield first, last - first, text
            first = last

    def raw_blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, bytes) of the indexed lines, about 256 KB of whole lines at a time."""
        generation, first = self.generation, 0
        while generation == self.generation:
            with self._lock:
                if first >= self.count:
                    return
                begin = self._starts[first]
                last = self._line_after(begin + BLOCK_BYTES, first + 1, self.count)
                end = self._starts[last] if last < len(self._starts) else self._size
            # Of an endless line only the start: a progress bar of a day is tens of megabytes.
            yield begin, self._pread(min(end - begin, 4 * BLOCK_BYTES), begin)
            first = last

    def line_at(self, offset: int) -> int:
        """Return the line that holds the byte ``offset`` (the nearest indexed one)."""
        with self._lock:
            return max(0, self._line_after(offset + 1, 0, len(self._starts)) - 1)

    def offset_of(self, line: int) -> int:
        """Return the byte at which a line starts; the end of the file for one that is not there yet."""
        with self._lock:
            return self._starts[max(0, line)] if line < len(self._starts) else self._size

    def index_head(self, cancelled: threading.Event | None = None) -> int:
        """Index what lies before the tail and return by how much all line numbers grew."""
        return self.adopt_head(self.scan_head(cancelled))

    def scan_head(self, cancelled: threading.Event | None = None) -> Head:
        """Find the lines before the tail without changing anything; for a worker thread."""
        head = Head(self.generation, array("Q", [0]))
        offset, end = 0, self._head_bytes
        while offset < end and not (cancelled is not None and cancelled.is_set()):
            block = self._pread(min(BLOCK_BYTES, end - offset), offset)
            if not block:
                break
            head.starts.extend(_line_starts(block, offset))
            offset += len(block)
        head.complete = offset == end
        return head

    def adopt_head(self, head: Head) -> int:
        """Take what ``scan_head`` found and return by how much all line numbers grew.

        0 when it was cancelled, the log was reset meanwhile, or there was nothing to do.
        """
        with self._lock:
            if not head.complete or head.generation != self.generation or self._head_bytes == 0:
                return 0
            starts = head.starts
            if starts[-1] == self._starts[0]:
                starts.pop()
            grown = len(starts)
            starts.extend(self._starts)
            self._starts = starts
            self._head_bytes = 0
        return grown

    def close(self) -> None:
        """Close the file; no other call may follow."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _open_tail(self, tail_bytes: int) -> None:
        begin = max(0, self._size - tail_bytes)
        if begin:
            begin = self._after_newline(begin)
        self._head_bytes = begin
        self._starts.append(begin)
        offset = begin
        while offset < self._size:
            block = self._pread(min(BLOCK_BYTES, self._size - offset), offset)
            if not block:
                self._size = offset
                return
            self._starts.extend(_line_starts(block, offset))
            offset += len(block)

    def _after_newline(self, offset: int) -> int:
        """Return the first line start after ``offset``; 0 when the tail is one endless line."""
        while offset < self._size:
            block = self._pread(BLOCK_BYTES, offset)
            newline = block.find(b"\n")
            if newline >= 0 and offset + newline + 1 < self._size:
                return offset + newline + 1
            if not block or newline >= 0:
                break
            offset += len(block)
        return 0

    def _pread(self, size: int, offset: int) -> bytes:
        """Read from the file; nothing once it is closed, which a search thread may live to see."""
        return os.pread(self._fd, size, offset) if self._fd >= 0 else b""

    def _write(self, data: bytes) -> None:
        view, offset = memoryview(data), self._size
        try:
            while view:
                written = os.pwrite(self._fd, view, offset)
                view, offset = view[written:], offset + written
        except OSError as error:
            raise _write_failed(self.path, error) from error

    def _line_after(self, offset: int, first: int, limit: int) -> int:
        """Return the first line of first..limit that starts at ``offset`` or later."""
        return bisect_left(self._starts, offset, first, limit)

    def _long_line(self, start: int, end: int) -> str:
        if end - start <= MAX_LINE_BYTES:
            return settled(self._pread(end - start, start))
        tail = self._pread(MAX_LINE_BYTES, end - MAX_LINE_BYTES)
        if b"\r" in tail.rstrip(b"\r\n"):
            return settled(tail)
        return settled(self._pread(MAX_LINE_BYTES, start))


def settled(line: bytes) -> str:
    """Return what a line shows once carriage returns have overwritten it."""
    line = line.rstrip(b"\r\n")
    return line[line.rfind(b"\r") + 1 :].decode("utf-8", "replace")


def _settled_block(block: bytes) -> str:
    """Do as ``settled`` to every line of a block at once."""
    text = block.decode("utf-8", "replace").removesuffix("\n")
    if "\r" in text:
        text = _OVERWRITTEN.sub("", text).replace("\r", "")
    return text


def _line_starts(data: bytes, offset: int) -> list[int]:
    """Return the offset after each newline of ``data``; all in C, a third of the cost of finditer."""
    lengths = map(len, data.split(b"\n"))
    return list(accumulate(map((1).__add__, lengths), initial=offset))[1:-1]


def _write_failed(path: Path, error: OSError) -> SpoolWriteFailed:
    return SpoolWriteFailed(
        f"the local copy of the log can't be written: {path}",
        cause=error.strerror or str(error),
        remedy="free disk space here, or set FINETUI_HOME to another disk; training itself goes on",
    )

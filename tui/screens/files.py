"""A machine's files: browse run folders, view text files, save them here, delete runs and checkpoints."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from remote_agent.protocol import FileEntry
from tui.messages import Failed, SampleTaken
from tui.screens.base import Context, PlaceScreen, bindings_of, keys_of
from tui.screens.confirm import ConfirmScreen
from tui.screens.filelist import FileList
from tui.screens.run_text import bar
from tui.screens.wording import one_line, plural, safe, short_id, size
from tui.state.connection import ConnectionChanged

#: Bytes of a text file that are shown.
SHOWN_BYTES = 64 * 1024
#: A download says how far it is this often.
PROGRESS_S = 0.25
_RUN = re.compile(r"runs/([^/]+)$")
_CHECKPOINT = re.compile(r"runs/([^/]+)/output/checkpoint-(\d+)$")
_GAUGE_CELLS = 16


class FilesScreen(PlaceScreen):
    """Browses one target's state directory; leaving a file goes back to its folder."""

    CSS_PATH = "files.tcss"
    place = "files"
    BINDINGS: ClassVar[list[BindingType]] = bindings_of("files")

    class Progressed(Message):
        """A download came further."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

        def can_replace(self, message: Message) -> bool:
            """One waiting is enough."""
            return isinstance(message, FilesScreen.Progressed)

    def __init__(self, context: Context, target: str, path: str = "runs") -> None:
        super().__init__(context)
        self._target = target
        self._path = path
        self._busy = ""

    def body(self) -> Iterable[Any]:
        """Yield the folder, the file that is looked at, and how a download goes."""
        yield FileList(time.time, id="entries")
        yield VerticalScroll(Static(id="file"), id="file-scroll")
        yield Static(id="progress")

    def heading(self) -> Content:
        """Return the title line: machine, folder, how full its disk is."""
        sample = self.context.board.samples.get(self._target)
        room: list[Any] = []
        if sample and sample[0].disk_total_bytes and sample[0].disk_used_bytes is not None:
            used, total = sample[0].disk_used_bytes, sample[0].disk_total_bytes
            colour = "$error" if used > 0.95 * total else "$warning" if used > 0.85 * total else "$success"
            room = [
                ("   disk ", "$text-muted"),
                (bar(used / total, _GAUGE_CELLS, self.context.ascii), colour),
                (f" {size(total - used)} free of {size(total)}", "$text-muted"),
            ]
        return Content.assemble(
            ("finetui", "bold $primary"),
            f"  Files  {self._target}:",
            (one_line(self._path) or "/", "bold"),
            *room,
        )

    def links(self) -> Iterable[ConnectionChanged]:
        """Return the connection to the machine."""
        link = self.context.board.links.get(self._target)
        return [link] if link else []

    def on_mount(self) -> None:
        """Open the first folder."""
        self.query_one("#file-scroll").display = False
        self.query_one("#progress").display = False
        self.query_one(FileList).focus()
        self._open(self._path)

    def take(self, message: Message) -> None:
        """Move the disk gauge."""
        if isinstance(message, SampleTaken) and message.source == self._target:
            self._show_heading()

    def _show_heading(self) -> None:
        heading, text = self.query_one("#heading", Static), self.heading()
        if heading.content != text:
            heading.update(text, layout=False)

    def _open(self, path: str, chosen: str = "") -> None:
        self.in_background(
            "list the folder",
            partial(self.context.backend.files, self._target, path),
            partial(self._list, path, chosen),
        )

    def _list(self, path: str, chosen: str, entries: list[FileEntry]) -> None:
        self._path = path
        self.query_one(FileList).show(entries, chosen)
        self._show_heading()

    @property
    def _chosen(self) -> FileEntry | None:
        return self.query_one(FileList).chosen

    def _path_of(self, entry: FileEntry) -> str:
        return f"{self._path}/{entry.name}" if self._path else entry.name

    def action_view(self) -> None:
        """Open the folder, or show the start of the file."""
        entry = self._chosen
        if entry is None:
            return
        path = self._path_of(entry)
        if entry.kind == "dir":
            self._open(path)
            return
        self.in_background(
            "read the file",
            partial(self.context.backend.read_file, self._target, path, min(SHOWN_BYTES, entry.bytes)),
            partial(self._show, entry),
        )

    def _show(self, entry: FileEntry, data: bytes) -> None:
        if b"\0" in data:
            text = f"{one_line(entry.name)} is not text; w saves it on this machine ({size(entry.bytes)})"
        else:
            text = safe(data.decode("utf-8", "replace"))
            if entry.bytes > len(data):
                text += f"\n[the first {size(len(data))} of {size(entry.bytes)}; w saves all of it here]"
        self.query_one("#file", Static).update(Content(text))
        self.query_one("#entries").display = False
        scroll = self.query_one("#file-scroll")
        scroll.display = True
        scroll.scroll_home(animate=False)
        scroll.focus()

    # Saving here.

    def action_download(self) -> None:
        """Save the file or folder under the cursor in the folder that finetui was started in."""
        entry = self._chosen
        if entry is None:
            return
        if self._busy:
            self.notify(f"{self._busy} is being saved; one at a time", severity="warning")
            return
        to = Path(entry.name).absolute()
        if "/" in entry.name or to.exists():
            self.notify(f"{to} is there already", severity="warning")
            return
        self._busy = entry.name
        backend = self.context.backend
        copy = backend.download_folder if entry.kind == "dir" else backend.download_file
        self.in_background(
            "save it here",
            partial(copy, self._target, self._path_of(entry), to, self._meter(entry.name)),
            lambda total: self._saved(f"Saved {to} ({size(total)})"),
            self._not_saved,
        )

    def _meter(self, name: str) -> Callable[[int, int], None]:
        """Return what a download's thread calls with bytes done and bytes in all."""
        clock, begun = self.context.clock, self.context.clock()
        last = begun - PROGRESS_S

        def progressed(done: int, total: int) -> None:
            nonlocal last
            now = clock()
            if now - last < PROGRESS_S and done < total:
                return
            last = now
            speed = f", {size(done / (now - begun))}/s" if now > begun else ""
            share = done / total if total else 1.0
            line = bar(share, _GAUGE_CELLS, self.context.ascii)
            text = f"{line} {share:.0%}  {one_line(name)}: {size(done)} of {size(total)}{speed}"
            self.post_message(self.Progressed(text))

        return progressed

    def on_files_screen_progressed(self, message: Progressed) -> None:
        """Show how far the download is."""
        line = self.query_one("#progress", Static)
        line.display = bool(self._busy)
        line.update(Content(message.text), layout=False)

    def _saved(self, text: str) -> None:
        self._busy = ""
        self.query_one("#progress").display = False
        self.notify(text)

    def _not_saved(self, error: BaseException) -> None:
        self._busy = ""
        self.query_one("#progress").display = False
        self.app.post_message(Failed("save it here", error))

    # Deleting.

    def action_delete(self) -> None:
        """Ask about the run or checkpoint under the cursor, with what goes; nothing else is deleted here."""
        entry = self._chosen
        if entry is None or entry.kind != "dir":
            self.notify("Only runs and checkpoints are deleted here: choose their folder")
            return
        path = self._path_of(entry)
        found = _RUN.match(path) or _CHECKPOINT.match(path)
        if found is None:
            self.notify("Only runs and checkpoints are deleted here: choose their folder")
            return
        known = self.context.board.runs.get(found[1])
        if known is not None and known.active:
            self.notify(
                f"Run {short_id(known.run)} is {known.status.state}; stop it first", severity="warning"
            )
            return
        self.in_background(
            "count what would be deleted",
            partial(self.context.backend.folder_size, self._target, path),
            partial(self._ask_delete, path),
        )

    def _ask_delete(self, path: str, counted: tuple[int, int]) -> None:
        files, total = counted
        checkpoint = _CHECKPOINT.match(path)
        if checkpoint:
            what = f"checkpoint {short_id(checkpoint[1])}@{checkpoint[2]}"
            lost = "Its weights and what a resume from it needs are gone then."
        else:
            what = f"run {short_id(path.rpartition('/')[2])}"
            lost = "Its log, metrics, settings and all its checkpoints are gone then."
        freed = f"On {self._target}: {plural(files, 'file')}, {size(total)} are freed."
        body = f"{freed}\n{lost}\nIt can't be undone."

        def answered(yes: bool | None) -> None:
            if yes:
                self.in_background("delete it", partial(self._delete, path), self._deleted)

        self.app.push_screen(ConfirmScreen(f"Delete {what}?", body, "Delete"), answered)

    def _delete(self, path: str) -> int:
        checkpoint = _CHECKPOINT.match(path)
        backend = self.context.backend
        if checkpoint:
            return backend.delete_checkpoint(self._target, checkpoint[1], int(checkpoint[2]))
        return backend.delete(self._target, path.rpartition("/")[2])

    def _deleted(self, freed: int) -> None:
        self.notify(f"Deleted; {size(freed)} freed")
        self._open(self._path)

    # Moving.

    def action_sort(self) -> None:
        """Sort by name, size or age."""
        self.notify(f"Sorted by {self.query_one(FileList).next_order()}", timeout=2)

    def action_up(self) -> None:
        """Go to the folder above, or from a file to its folder."""
        if self.query_one("#file-scroll").display:
            self._leave_file()
        elif self._path:
            above, _, name = self._path.rpartition("/")
            self._open(above, name)

    def action_back(self) -> None:
        """Leave the file first, then the screen."""
        if self.query_one("#file-scroll").display:
            self._leave_file()
        else:
            super().action_back()

    def _leave_file(self) -> None:
        self.query_one("#file-scroll").display = False
        listing = self.query_one("#entries")
        listing.display = True
        listing.focus()

    def widget_help(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return the keys of the listing."""
        return [("Listing", keys_of(FileList))]

"""The files of a machine: run folders, text files, downloads."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from remote_agent.protocol import FileEntry
from tui.screens.base import Context, PlaceScreen, bindings_of
from tui.screens.wording import one_line, safe, size
from tui.state.connection import ConnectionChanged

#: Bytes of a text file that are shown.
SHOWN_BYTES = 64 * 1024


class FilesScreen(PlaceScreen):
    """Browses one target's state directory; leaving a file goes back to its folder."""

    CSS_PATH = "files.tcss"
    place = "files"
    BINDINGS: ClassVar[list[BindingType]] = bindings_of("files")

    def __init__(self, context: Context, target: str, path: str = "runs") -> None:
        super().__init__(context)
        self._target = target
        self._path = path
        self._entries: list[FileEntry] = []

    def body(self) -> Iterable[Any]:
        """Yield the folder, and the file that is looked at."""
        yield OptionList(id="entries")
        yield VerticalScroll(Static(id="file"), id="file-scroll")

    def heading(self) -> Content:
        """Return the title line: machine, folder, room on its disk."""
        sample = self.context.board.samples.get(self._target)
        room = ""
        if sample and sample[0].disk_total_bytes and sample[0].disk_used_bytes is not None:
            free = sample[0].disk_total_bytes - sample[0].disk_used_bytes
            room = f"   {size(free)} free of {size(sample[0].disk_total_bytes)}"
        return Content.assemble(
            ("finetui", "bold $primary"),
            f"  Files  {self._target}:",
            (one_line(self._path) or "/", "bold"),
            (room, "$text-muted"),
        )

    def links(self) -> Iterable[ConnectionChanged]:
        """Return the connection to the machine."""
        link = self.context.board.links.get(self._target)
        return [link] if link else []

    def on_mount(self) -> None:
        """Open the first folder."""
        self.query_one("#file-scroll").display = False
        self.query_one("#entries").focus()
        self._open(self._path)

    def _open(self, path: str) -> None:
        self.in_background(
            "list the folder",
            partial(self.context.backend.files, self._target, path),
            partial(self._list, path),
        )

    def _list(self, path: str, entries: list[FileEntry]) -> None:
        self._path = path
        self._entries = sorted(entries, key=lambda entry: (entry.kind != "dir", entry.name))
        listing = self.query_one("#entries", OptionList)
        listing.clear_options()
        listing.add_options([Option(_line(entry)) for entry in self._entries])
        if not self._entries:
            listing.add_option(Option("This folder is empty", disabled=True))
        listing.highlighted = 0 if self._entries else None
        self.query_one("#heading", Static).update(self.heading())

    @property
    def _chosen(self) -> FileEntry | None:
        index = self.query_one("#entries", OptionList).highlighted
        return self._entries[index] if self._entries and index is not None else None

    def _path_of(self, entry: FileEntry) -> str:
        return f"{self._path}/{entry.name}" if self._path else entry.name

    def on_option_list_option_selected(self) -> None:
        """Open a folder, show a file."""
        self.action_view()

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
            text = f"{entry.name} is not text; w saves it on this machine ({size(entry.bytes)})"
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

    def action_download(self) -> None:
        """Save the file under the cursor in the folder that finetui was started in."""
        entry = self._chosen
        if entry is None or entry.kind == "dir":
            self.notify("Choose a file; folders of a checkpoint: finetui pull RUN@STEP DIR")
            return
        to = Path(entry.name).absolute()
        if to.exists():
            self.notify(f"{to} is there already", severity="warning")
            return
        self.notify(f"Saving {entry.name} ({size(entry.bytes)})")
        self.in_background(
            "save the file",
            partial(self.context.backend.download, self._target, self._path_of(entry), to),
            lambda _: self.notify(f"Saved {to}"),
        )

    def action_up(self) -> None:
        """Go to the folder above, or from a file to its folder."""
        if self.query_one("#file-scroll").display:
            self._leave_file()
        elif self._path:
            self._open(self._path.rpartition("/")[0])

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


def _line(entry: FileEntry) -> Content:
    name = one_line(entry.name) + ("/" if entry.kind == "dir" else "")
    amount = "" if entry.kind == "dir" else size(entry.bytes)
    return Content.assemble((f"{amount:>10}  ", "$text-muted"), (name, "bold" if entry.kind == "dir" else ""))

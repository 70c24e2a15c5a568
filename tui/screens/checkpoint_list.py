"""The checkpoints of a run, newest first."""

from __future__ import annotations

from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from remote_agent.protocol import Checkpoint
from tui.screens.wording import number, one_line, size


class CheckpointList(OptionList):
    """One line a checkpoint: step, size, loss, and what is missing where it isn't complete."""

    class Picked(Message):
        """Enter was pressed on a checkpoint, or on the base."""

    def __init__(self) -> None:
        super().__init__(Option("No checkpoint yet", disabled=True), id="checkpoints")
        self.shown: list[Checkpoint] = []

    @property
    def chosen(self) -> Checkpoint | None:
        """The checkpoint under the cursor."""
        index = self.highlighted
        return self.shown[index] if index is not None and index < len(self.shown) else None

    @property
    def base_chosen(self) -> bool:
        """True while the cursor is on the base model."""
        return bool(self.shown) and self.highlighted == len(self.shown)

    def show(self, checkpoints: list[Checkpoint]) -> None:
        """Show these checkpoints; the cursor stays on its step."""
        newest = sorted(checkpoints, key=lambda item: item.step, reverse=True)
        if newest == self.shown:
            return
        before = self.chosen
        self.shown = newest
        self.clear_options()
        if not newest:
            self.add_option(Option("No checkpoint yet", disabled=True))
            return
        self.add_options([Option(_line(item)) for item in newest])
        self.add_option(Option(Content.styled("base: the model before training", "$text-muted")))
        steps = [item.step for item in newest]
        self.highlighted = steps.index(before.step) if before and before.step in steps else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Tell that one was picked."""
        event.stop()
        if self.shown:
            self.post_message(self.Picked())


def _line(item: Checkpoint) -> Content:
    words = f"step {item.step:<7} {size(item.bytes):>9}"
    if item.loss is not None:
        words += f"  loss {number(item.loss)}"
    if item.eval_loss is not None:
        words += f"  eval {number(item.eval_loss)}"
    if item.complete:
        return Content(words)
    return Content.assemble(words, (f"  not complete: {one_line(item.missing)}", "$warning"))

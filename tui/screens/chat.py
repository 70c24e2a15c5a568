"""Chat with a checkpoint: streaming, multi-turn, two models side by side, the parameters beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input

from presets.errors import FinetuiError, InvalidInput
from tui.screens.base import Context, PlaceScreen, bindings_of
from tui.screens.board import KnownRun
from tui.screens.chat_side import SidePanel
from tui.screens.conversation import COMMANDS, Settings, parse_command
from tui.screens.problem import describe
from tui.screens.promptbox import PromptBox
from tui.screens.seat import Seat
from tui.screens.wording import short_id
from tui.state.connection import ConnectionChanged


class ChatScreen(PlaceScreen):
    """One prompt for one model, or for two of the same run side by side."""

    CSS_PATH = "chat.tcss"
    place = "chat"
    BINDINGS: ClassVar[list[BindingType]] = bindings_of("chat")

    def __init__(self, context: Context, known: KnownRun, step: int | str | None) -> None:
        super().__init__(context)
        self._known = known
        self._settings = Settings()
        self._seats = [Seat(context, known, step, self._settings)]

    def heading(self) -> Content:
        """Return the title line."""
        return Content.assemble(
            ("finetui", "bold $primary"),
            "  Chat  ",
            (short_id(self._known.run), "bold"),
            f"  {self._known.status.preset}",
        )

    def body(self) -> Iterable[Any]:
        """Yield the models and the prompt, with the parameters beside them."""
        with Horizontal(id="chat"):
            with Vertical(id="talk"):
                yield Horizontal(*self._seats, id="seats")
                yield PromptBox()
            yield SidePanel(self._settings)

    def links(self) -> Iterable[ConnectionChanged]:
        """Return the connection to the run's machine."""
        link = self.context.board.links.get(self._known.target)
        return [link] if link else []

    def on_mount(self) -> None:
        """Start typing at once."""
        self.query_one(PromptBox).focus()

    def on_prompt_box_submitted(self, message: PromptBox.Submitted) -> None:
        """Take a prompt or a slash command."""
        try:
            command = parse_command(message.text)
            if command is not None:
                self._command(*command)
                return
        except FinetuiError as error:
            self._seats[0].note(describe(error), "warning")
            return
        if any(seat.busy for seat in self._seats):
            self.notify("Wait for the reply, or stop it with esc", severity="warning")
            self.query_one(PromptBox).put(message.text)
            return
        for seat in self._seats:
            seat.send(message.text)

    def _command(self, name: str, argument: str) -> None:
        commands: dict[str, Callable[[str], object]] = {
            "/new": lambda _: self.action_new(),
            "/retry": lambda _: self.action_retry(),
            "/undo": self._undo,
            "/set": self._set,
            "/system": self._system,
            "/save": self._save,
            "/compare": self._compare,
            "/prompt": self._show_prompt,
            "/help": self._help,
            "/quit": lambda _: self.action_back(),
        }
        commands[name](argument)

    def _undo(self, _: str) -> None:
        prompts = [seat.undo() for seat in self._seats]
        self.query_one(PromptBox).put(prompts[0])

    def _set(self, argument: str) -> None:
        key, _, value = argument.partition(" ")
        self._settings.parameters = self._settings.parameters.with_value(key, value.strip())
        self.query_one(SidePanel).show()

    def _system(self, argument: str) -> None:
        self._settings.system = argument
        self.query_one(SidePanel).show()
        self._seats[0].note("System prompt set" if argument else "No system prompt", "text-muted")

    def _save(self, argument: str) -> None:
        path = Path(argument or "chat-rows.jsonl").expanduser()
        self._seats[0].conversation.save_row(path)
        self._seats[0].note(f"Saved as a row of {path.absolute()}", "text-muted")

    def _compare(self, argument: str) -> None:
        if len(self._seats) > 1:
            self._seats.pop().remove()
            if not argument:
                return
        step = _step_of(argument or "base")
        seat = Seat(self.context, self._known, step, self._settings)
        self._seats.append(seat)
        self.query_one("#seats").mount(seat)
        text = "New prompts go to both models. /compare again ends the comparison."
        seat.call_after_refresh(seat.note, text, "text-muted")

    def _show_prompt(self, _: str) -> None:
        lines = [f"{turn['role']}: {turn['content']}" for turn in self._seats[0].conversation.messages()]
        shown = "\n".join(lines) or "Nothing was asked yet"
        self._seats[0].note(f"Sent so far, before the run's own chat template:\n{shown}", "text-muted")

    def _help(self, _: str) -> None:
        rows = [f"{key} {arguments}".ljust(20) + text for key, (arguments, text) in COMMANDS.items()]
        self._seats[0].note("\n".join(rows), "text-muted")

    # Keys

    def action_new(self) -> None:
        """Forget the conversation."""
        for seat in self._seats:
            seat.clear()

    def action_retry(self) -> None:
        """Ask for the last reply again."""
        retried = [seat.retry() for seat in self._seats]
        if not any(retried):
            self.notify("There is no prompt to repeat")

    def action_compare(self) -> None:
        """Put the base model beside the checkpoint, or end the comparison."""
        self._compare("")

    def action_stop_or_back(self) -> None:
        """Stop the replies and keep them; with none coming, leave the chat."""
        if any(seat.busy for seat in self._seats):
            for seat in self._seats:
                seat.stop_reply()
        elif self.query_one(SidePanel).has_focus_within:
            self.query_one(PromptBox).focus()
        else:
            self.action_back()

    def action_side(self) -> None:
        """Show or hide the parameters."""
        side = self.query_one(SidePanel)
        side.display = not side.display
        if side.display:
            side.query(Input).first().focus()
        else:
            self.query_one(PromptBox).focus()

    def action_send(self) -> None:
        """Send what is in the prompt box."""
        self.query_one(PromptBox).action_submit()


def _step_of(text: str) -> int | str:
    text = text.rpartition("@")[2]
    if text == "base":
        return text
    if text.isascii() and text.isdigit():
        return int(text)
    raise InvalidInput(f"{text!r} is not a checkpoint", remedy="write /compare base, or /compare STEP")

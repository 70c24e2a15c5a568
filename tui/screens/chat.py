"""Chat with a checkpoint: streaming, multi-turn, with the parameters beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static

from presets.errors import FinetuiError
from tui.messages import ChatPhase, ReplyEnded, ReplyGrew
from tui.screens.base import Context, PlaceScreen, bindings_of
from tui.screens.board import KnownRun
from tui.screens.chat_side import SidePanel
from tui.screens.conversation import COMMANDS, Conversation, Turn, parse_command
from tui.screens.problem import describe
from tui.screens.promptbox import PromptBox
from tui.screens.reply import stream_reply
from tui.screens.transcript import Transcript
from tui.screens.wording import duration, one_line, short_id
from tui.state.connection import ConnectionChanged

if TYPE_CHECKING:
    from tui.operations.chat import ChatSession


class ChatScreen(PlaceScreen):
    """One conversation against one checkpoint; the model server is let go when the screen closes."""

    CSS_PATH = "chat.tcss"
    place = "chat"
    BINDINGS: ClassVar[list[BindingType]] = bindings_of("chat")

    def __init__(self, context: Context, known: KnownRun, step: int | None) -> None:
        super().__init__(context)
        self._known = known
        self._step = step
        self._conversation = Conversation()
        self._chat: ChatSession | None = None
        self._left = threading.Event()
        self._stop: threading.Event | None = None
        self._opened = context.clock()
        self._phase = "starting the model server"

    def heading(self) -> Content:
        """Return the title line: which model answers."""
        at = self._chat.server.checkpoint if self._chat else self._wanted()
        return Content.assemble(
            ("finetui", "bold $primary"), "  Chat  ", (one_line(at), "bold"), f"  {self._known.status.preset}"
        )

    def _wanted(self) -> str:
        if self._known.status.kind == "serve":
            return self._known.status.parent
        return f"{short_id(self._known.run)}@{'newest' if self._step is None else self._step}"

    def body(self) -> Iterable[Any]:
        """Yield transcript, state line and prompt, with the parameters beside them."""
        with Horizontal(id="chat"):
            with Vertical(id="talk"):
                yield Transcript()
                yield Static(id="chat-state")
                yield PromptBox()
            yield SidePanel(self._conversation)

    def links(self) -> Iterable[ConnectionChanged]:
        """Return the connection to the run's machine."""
        link = self.context.board.links.get(self._known.target)
        return [link] if link else []

    def on_mount(self) -> None:
        """Load the model while the first prompt is typed."""
        self.query_one(PromptBox).focus()
        self.set_interval(1.0, self._show_state)
        self._show_state()
        self.in_background(
            "start the chat",
            lambda: self.context.backend.open_chat(self._known, self._step, self._say_phase),
            self._loaded,
            self._not_loaded,
        )

    def on_unmount(self) -> None:
        """Stop what runs and let the server go; in a thread, for it talks to the machine."""
        self._left.set()
        if self._stop is not None:
            self._stop.set()
        if self._chat is not None:
            threading.Thread(target=self._chat.close, name="finetui chat close", daemon=True).start()

    def _say_phase(self, text: str) -> None:
        """Called by the loading thread."""
        self.post_message(ChatPhase(text))

    def on_chat_phase(self, message: ChatPhase) -> None:
        """Show how loading goes."""
        self._phase = one_line(message.text)
        self._show_state()

    def _loaded(self, chat: ChatSession) -> None:
        if self._left.is_set():
            chat.close()
            return
        self._chat = chat
        self.query_one("#heading", Static).update(self.heading())
        self._show_state()
        if self._conversation.turns and self._conversation.turns[-1].role == "user":
            self._ask()

    def _not_loaded(self, error: BaseException) -> None:
        self._phase = ""
        self.query_one(Transcript).note(f"The model could not be loaded.\n{describe(error)}", "error")
        self._show_state()

    def _show_state(self) -> None:
        state = self.query_one("#chat-state", Static)
        if self._chat is None:
            waited = duration(self.context.clock() - self._opened)
            text = (
                f"Loading {self._wanted()}: {self._phase} ({waited}). You can type already."
                if self._phase
                else ""
            )
        else:
            text = "Replying; esc stops it and keeps what is there" if self._stop else ""
        state.display = bool(text)
        if state.content != text:
            state.update(Content(text))

    # Asking

    def on_prompt_box_submitted(self, message: PromptBox.Submitted) -> None:
        """Take a prompt or a slash command."""
        try:
            command = parse_command(message.text)
        except FinetuiError as error:
            self.query_one(Transcript).note(describe(error), "warning")
            return
        if command is not None:
            self._command(*command)
        elif self._stop is not None:
            self.notify("Wait for the reply, or stop it with esc", severity="warning")
            self.query_one(PromptBox).put(message.text)
        else:
            self._add(Turn("user", message.text))
            self._ask()

    def _add(self, turn: Turn) -> None:
        self._conversation.turns.append(turn)
        self.query_one(Transcript).add(turn)

    def _ask(self) -> None:
        """Ask for a reply to the conversation as it stands; waits for the model when it still loads."""
        if self._chat is None or self._stop is not None:
            return
        self._stop = threading.Event()
        self.query_one(Transcript).begin_reply()
        stream_reply(
            self._chat, self._conversation.messages(), self._conversation.parameters, stop=self._stop,
            post=self.post_message, clock=self.context.clock,
        )  # fmt: skip
        self._show_state()

    def on_reply_grew(self, message: ReplyGrew) -> None:
        """Draw what came."""
        if message.stop_event is self._stop:
            self.query_one(Transcript).extend_reply(message.text)

    def on_reply_ended(self, message: ReplyEnded) -> None:
        """Keep the reply, whole or as far as it came."""
        if message.stop_event is not self._stop:
            return
        self._keep_reply(message.note)
        if message.error is not None:
            self.query_one(Transcript).note(describe(message.error), "error")

    def _keep_reply(self, note: str) -> None:
        self._stop = None
        text = self.query_one(Transcript).end_reply(note)
        self._conversation.turns.append(Turn("assistant", text, note))
        self._show_state()

    # Keys and slash commands

    def _command(self, name: str, argument: str) -> None:
        transcript = self.query_one(Transcript)
        try:
            if name == "/set":
                key, _, value = argument.partition(" ")
                self._conversation.parameters = self._conversation.parameters.with_value(key, value.strip())
                self.query_one(SidePanel).show()
            elif name == "/system":
                self._conversation.system = argument
                self.query_one(SidePanel).show()
                transcript.note("System prompt set" if argument else "No system prompt", "text-muted")
            elif name == "/save":
                path = Path(argument or "chat-rows.jsonl").expanduser()
                self._conversation.save_row(path)
                transcript.note(f"Saved as a row of {path.absolute()}", "text-muted")
            elif name == "/help":
                rows = [f"{key} {arguments}".ljust(18) + text for key, (arguments, text) in COMMANDS.items()]
                transcript.note("\n".join(rows), "text-muted")
            elif name == "/quit":
                self.action_back()
            else:
                {"/new": self.action_new, "/retry": self.action_retry, "/undo": self._undo}[name]()
        except FinetuiError as error:
            transcript.note(describe(error), "warning")

    def action_new(self) -> None:
        """Forget the conversation."""
        self._halt()
        self._conversation.turns.clear()
        self.query_one(Transcript).show([])

    def action_retry(self) -> None:
        """Ask for the last reply again."""
        self._halt()
        if not self._conversation.drop_reply():
            self.notify("There is no prompt to repeat")
            return
        self.query_one(Transcript).show(self._conversation.turns)
        self._ask()

    def _undo(self) -> None:
        self._halt()
        prompt = self._conversation.undo()
        self.query_one(Transcript).show(self._conversation.turns)
        self.query_one(PromptBox).put(prompt)

    def _halt(self) -> None:
        """Forget a reply that is coming."""
        if self._stop is not None:
            self._stop.set()
            self._stop = None
            self._show_state()

    def action_stop_or_back(self) -> None:
        """Stop the reply and keep it; with none coming, leave the chat."""
        if self._stop is not None:
            # What still comes is told apart by its stop event; the server notices at its next piece.
            self._stop.set()
            self._keep_reply("stopped by you; this much is kept")
        elif self.query_one(SidePanel).has_focus_within:
            self.query_one(PromptBox).focus()
        else:
            self.action_back()

    def action_side(self) -> None:
        """Show or hide the parameters."""
        side = self.query_one(SidePanel)
        shown = not side.display
        side.display = shown
        if shown:
            side.query(Input).first().focus()
        else:
            self.query_one(PromptBox).focus()

    def action_send(self) -> None:
        """Send what is in the prompt box."""
        self.query_one(PromptBox).action_submit()

"""One model in a chat: its server, its transcript, its reply; a comparison has two of them."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from tui.messages import ChatPhase, Failed, Finished, ReplyEnded, ReplyGrew
from tui.screens.background import start_background
from tui.screens.base import Context
from tui.screens.board import KnownRun
from tui.screens.conversation import Conversation, Settings, Turn
from tui.screens.problem import describe
from tui.screens.reply import stream_reply
from tui.screens.transcript import Transcript
from tui.screens.wording import duration, one_line, short_id

if TYPE_CHECKING:
    from tui.operations.chat import ChatSession


class Seat(Vertical):
    """Loads a model, asks it, draws what it answers."""

    def __init__(self, context: Context, known: KnownRun, step: int | str | None, settings: Settings) -> None:
        super().__init__(classes="seat")
        self._shared = context
        self._known = known
        self._step = step
        self.conversation = Conversation(settings)
        self._chat: ChatSession | None = None
        self._left = threading.Event()
        self._stop: threading.Event | None = None
        self._opened = context.clock()
        self._phase = "starting the model server"
        self._title = Static(classes="seat-title")
        self._transcript = Transcript()
        self._state = Static(classes="seat-state")

    @property
    def model(self) -> str:
        """The checkpoint that answers, RUN@STEP."""
        return self._chat.server.checkpoint if self._chat else self._wanted()

    @property
    def busy(self) -> bool:
        """True while a reply is coming."""
        return self._stop is not None

    def compose(self) -> ComposeResult:
        """Yield transcript and state line."""
        yield self._title
        yield self._transcript
        yield self._state

    def on_mount(self) -> None:
        """Load the model while the first prompt is typed."""
        self.set_interval(1.0, self._show_state)
        self._show_state()
        backend = self._shared.backend
        say = partial(_post_phase, self.post_message)
        start_background(
            self,
            "start the chat",
            lambda: backend.open_chat(self._known, self._step, say),
            self._loaded,
            self._not_loaded,
        )

    def on_unmount(self) -> None:
        """Stop what runs and let the server go; in a thread, for closing may wait for the machine."""
        self._left.set()
        self.halt()
        if self._chat is not None:
            threading.Thread(target=self._chat.close, name="finetui chat close", daemon=True).start()

    def _wanted(self) -> str:
        if self._known.status.kind == "serve":
            return self._known.status.parent
        return f"{short_id(self._known.run)}@{'newest' if self._step is None else self._step}"

    # Loading

    def on_finished(self, message: Finished) -> None:
        """Take the result of loading."""
        message.stop()
        message.then(message.result)

    def on_failed(self, message: Failed) -> None:
        """Take the failure of loading."""
        message.stop()
        self._not_loaded(message.error)

    def on_chat_phase(self, message: ChatPhase) -> None:
        """Show how loading goes."""
        message.stop()
        self._phase = one_line(message.text)
        self._show_state()

    def _loaded(self, chat: ChatSession) -> None:
        if self._left.is_set():
            chat.close()
            return
        self._chat = chat
        self._show_state()
        if self.conversation.turns and self.conversation.turns[-1].role == "user":
            self._ask()

    def _not_loaded(self, error: BaseException) -> None:
        self._phase = ""
        self.note(f"The model could not be loaded.\n{describe(error)}", "error")
        self._show_state()

    def _show_state(self) -> None:
        run, _, step = self.model.partition("@")
        self._title.update(Content(f"{short_id(run)}@{step}"))
        text = ""
        if self._chat is None and self._phase:
            waited = duration(self._shared.clock() - self._opened)
            text = f"Loading {self._wanted()}: {self._phase} ({waited}). You can type already."
        elif self.busy:
            text = "Replying; esc stops it and keeps what is there"
        self._state.display = bool(text)
        if self._state.content != text:
            self._state.update(Content(text))

    # Talking

    def note(self, text: str, colour: str) -> None:
        """Say something that is not part of the conversation."""
        self._transcript.note(text, colour)

    def send(self, text: str) -> None:
        """Add a prompt and ask for its reply."""
        if self._chat is None and not self._phase:
            self.note(
                "No model is loaded: leave with esc, and open the chat again when it can be.", "warning"
            )
            return
        turn = Turn("user", text)
        self.conversation.turns.append(turn)
        self._transcript.add(turn)
        self._ask()

    def _ask(self) -> None:
        """Ask for a reply to the conversation as it stands; waits for the model when it still loads."""
        if self._chat is None or self._stop is not None:
            return
        self._stop = threading.Event()
        self._transcript.begin_reply()
        stream_reply(
            self._chat,
            self.conversation.messages(),
            self.conversation.settings.parameters,
            stop=self._stop,
            post=self.post_message,
            clock=self._shared.clock,
        )
        self._show_state()

    def on_reply_grew(self, message: ReplyGrew) -> None:
        """Draw what came."""
        message.stop()
        if message.stop_event is self._stop:
            self._transcript.extend_reply(message.text)

    def on_reply_ended(self, message: ReplyEnded) -> None:
        """Keep the reply, whole or as far as it came."""
        message.stop()
        if message.stop_event is not self._stop:
            return
        self._keep_reply(message.note)
        if message.error is not None:
            self.note(describe(message.error), "error")

    def _keep_reply(self, note: str) -> None:
        self._stop = None
        text = self._transcript.end_reply(note)
        self.conversation.turns.append(Turn("assistant", text, note))
        self._show_state()

    def stop_reply(self) -> None:
        """Stop the reply that is coming and keep what is there."""
        if self._stop is not None:
            # What still comes is told apart by its stop event; the server notices at its next piece.
            self._stop.set()
            self._keep_reply("stopped by you; this much is kept")

    def halt(self) -> None:
        """Forget the reply that is coming."""
        if self._stop is not None:
            self._stop.set()
            self._stop = None
            self._show_state()

    def clear(self) -> None:
        """Forget the conversation."""
        self.halt()
        self.conversation.turns.clear()
        self._transcript.show([])

    def retry(self) -> bool:
        """Ask for the last reply again; False when there is no prompt to repeat."""
        self.halt()
        if not self.conversation.drop_reply():
            return False
        self._transcript.show(self.conversation.turns)
        self._ask()
        return True

    def undo(self) -> str:
        """Take back the last prompt with its reply and return the prompt."""
        self.halt()
        prompt = self.conversation.undo()
        self._transcript.show(self.conversation.turns)
        return prompt


def _post_phase(post: object, text: str) -> None:
    """Tell how loading goes; called by the loading thread."""
    assert callable(post)
    post(ChatPhase(text))

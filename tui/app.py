"""The Textual app: themes, global keys, and the one place where events become state."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.binding import BindingType
from textual.command import Provider
from textual.filter import LineFilter

from presets.errors import FinetuiError, InvalidInput
from tui import messages, theme
from tui.actions import unknown_ids
from tui.config import Config, load_config
from tui.screens.base import Context, PlaceScreen, bindings_of
from tui.screens.board import Board, KnownRun
from tui.screens.problem import ProblemScreen, describe
from tui.screens.runs import RunsScreen
from tui.screens.wording import one_line, plural, short_id

if TYPE_CHECKING:
    from tui.screens.backend import Backend

#: After this time all that an app needs is imported and parsed.
SETTLED_S = 3.0


def _palette() -> type[Provider]:
    from tui.screens.palette import ActionsProvider

    return ActionsProvider


class FinetuiApp(App[None]):
    """Owns what is known of runs; the backend's threads post messages, handlers here change state."""

    TITLE = "finetui"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar[set[Any]] = {_palette}
    BINDINGS: ClassVar[list[BindingType]] = bindings_of("app")

    def __init__(
        self,
        backend: Backend,
        config: Config | None = None,
        open_run: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._config = config or Config()
        self._open_run = open_run
        self._backend = backend
        self._excepthook = threading.excepthook
        self.problems: list[tuple[str, str]] = []
        self.context = Context(
            Board(clock),
            backend,
            dict(self._config.keys),
            clock,
            self._config.ascii or theme.ascii_only(getattr(sys.__stdout__, "encoding", None)),
        )
        for item in theme.THEMES:
            self.register_theme(item)

    def on_mount(self) -> None:
        """Apply the user's settings, show the runs, start to follow the targets."""
        wanted = self._config.theme or theme.THEMES[0].name
        if wanted in self.available_themes:
            self.theme = wanted
        else:
            self.theme = theme.THEMES[0].name
            self.notify(f"Unknown theme {wanted!r} in the config file", severity="warning")
        if self.context.keymap:
            self.set_keymap(self.context.keymap)
            for name in unknown_ids(self.context.keymap):
                self.notify(f"Unknown action {name!r} under keys in the config file", severity="warning")
        threading.excepthook = self._thread_failed
        self.push_screen(RunsScreen(self.context))
        # After the first frame: what follows imports the remote side.
        self.call_after_refresh(self._start)
        # Modules and style sheets stay: looking through them stalled the loop for 65 ms at every collection.
        self.set_timer(SETTLED_S, gc.freeze)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Add ours where only ASCII can be shown."""
        filters = list(super().get_line_filters())
        if self.context.ascii:
            from tui.screens.plain import AsciiFilter

            filters.append(AsciiFilter())
        return filters

    def _start(self) -> None:
        threading.Thread(target=self._follow, name="finetui start", daemon=True).start()

    def _follow(self) -> None:
        try:
            self._backend.start(self.post_message)
        except FinetuiError as error:
            self.post_message(messages.Failed("start", error))

    def on_unmount(self) -> None:
        """Let go of the connections; runs don't notice."""
        threading.excepthook = self._excepthook
        self._backend.close()

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        if failure.exc_value is not None:
            self.post_message(messages.Failed("an unexpected error", failure.exc_value))

    # State

    def on_history_read(self, message: messages.HistoryRead) -> None:
        """Show the runs of earlier sessions until their targets answer."""
        for entry in message.entries:
            self.context.board.remember(entry.target, entry.status, entry.age_s())
        self._runs_changed()

    def on_losses_read(self, message: messages.LossesRead) -> None:
        """Draw the sparklines of earlier sessions."""
        self.context.board.remember_losses(message.run, message.losses)
        self._runs_changed()

    def on_link_changed(self, message: messages.LinkChanged) -> None:
        """Keep the state of a connection."""
        self.context.board.links[message.event.target] = message.event
        screen = self.screen
        if isinstance(screen, PlaceScreen):
            screen.refresh_status()
        self._runs_changed()

    def on_target_dropped(self, message: messages.TargetDropped) -> None:
        """Forget a connection that never was."""
        self.context.board.links.pop(message.target, None)

    def on_runs_listed(self, message: messages.RunsListed) -> None:
        """Keep the newest status of every run; say when one has ended meanwhile."""
        ended = self.context.board.list_runs(message.source, message.runs)
        for known in ended:
            self._announce_end(known)
        self._runs_changed()

    def _announce_end(self, known: KnownRun) -> None:
        """Ring the terminal's bell: the user may look elsewhere."""
        status = known.status
        good = status.state in ("finished", "stopped")
        text = f"Run {short_id(known.run)} {status.state}" + (f": {status.message}" if status.message else "")
        self.notify(one_line(text), severity="information" if good else "error", timeout=10, markup=False)
        self.bell()

    def _runs_changed(self) -> None:
        if self._open_run is not None and self._open_run in self.context.board.runs:
            run, self._open_run = self._open_run, None
            self._show_run(run)
        screen = self.screen
        if isinstance(screen, PlaceScreen) and screen.laid_out:
            screen.runs_changed()

    def _show_run(self, run: str) -> None:
        from tui.screens.run import RunScreen

        self.push_screen(RunScreen(self.context, self.context.board.runs[run]))

    def on_sample_taken(self, message: messages.SampleTaken) -> None:
        """Keep a machine's gauges and let the screen on top draw them."""
        self.context.board.take_sample(message.source, message.sample)
        self._forward(message)

    def on_log_extended(self, message: messages.LogExtended) -> None:
        """Let the screen on top draw its log."""
        self._forward(message)

    def on_metrics_added(self, message: messages.MetricsAdded) -> None:
        """Keep the points of a run and let the screens draw them."""
        self.context.board.take_metrics(message.run, message.offset, message.data)
        for screen in self.screen_stack:
            if isinstance(screen, PlaceScreen) and screen.laid_out:
                screen.take(message)

    def _forward(self, message: Any) -> None:
        screen = self.screen
        if isinstance(screen, PlaceScreen) and screen.laid_out:
            screen.take(message)

    def on_question_asked(self, message: messages.QuestionAsked) -> None:
        """Ask the user what connecting needs to know."""
        if message.secret:
            from tui.screens.prompt import PromptScreen

            self.push_screen(PromptScreen(message.text, secret=True), message.answer)
        else:
            from tui.screens.confirm import ConfirmScreen

            self.push_screen(ConfirmScreen(message.title, message.text, "Trust", "Refuse"), message.answer)

    def on_failed(self, message: messages.Failed) -> None:
        """Keep a failure for later and show it once, with what to do."""
        title = f"Could not {message.what}" if isinstance(message.error, FinetuiError) else "Something broke"
        body = describe(message.error)
        if not isinstance(message.error, FinetuiError):
            body += "\n\nThis is a fault of finetui. Runs on their machines are not touched by it."
        self.problems.append((title, body))
        self.push_screen(ProblemScreen(title, body))

    # Global keys

    def action_help(self) -> None:
        """Show the keys of the screen on top."""
        screen = self.screen
        if isinstance(screen, PlaceScreen):
            from tui.screens.help import HelpScreen

            self.push_screen(HelpScreen(screen.place, self.context.keymap, screen.widget_help()))

    def action_problems(self) -> None:
        """Show what went wrong so far."""
        if not self.problems:
            self.notify("Nothing went wrong so far")
            return
        text = "\n\n".join(f"{title}\n{body}" for title, body in reversed(self.problems))
        self.push_screen(ProblemScreen("What went wrong so far, newest first", text))

    def action_reconnect(self) -> None:
        """Try the lost connections now instead of after their wait."""
        self._backend.retry()

    def action_next_theme(self) -> None:
        """Switch to the next theme."""
        cycle = theme.THEME_CYCLE
        now = cycle.index(self.theme) if self.theme in cycle else -1
        self.theme = cycle[(now + 1) % len(cycle)]
        self.notify(f"Theme: {self.theme}", timeout=2)

    async def action_quit(self) -> None:
        """Leave; say which runs go on."""
        active = [known for known in self.context.board.active_runs() if known.status.kind == "train"]
        lines = []
        if active:
            names = ", ".join(f"{short_id(known.run)} on {known.target}" for known in active[:5])
            more = ", ..." if len(active) > 5 else ""
            lines.append(f"{plural(len(active), 'run')} going on without finetui: {names}{more}")
            lines.append("Look again: finetui    Stop one: finetui stop RUN")
        self.exit(message="\n".join(lines) or None)


def run(open_run: str | None = None, target: str | None = None) -> None:
    """Open the app, on a run if one is named; returns when the user leaves.

    Raises InvalidInput when this terminal can't show it, or the config file is wrong.
    """
    refuse_dumb_terminal()
    from tui.screens.backend import Backend

    config = load_config()
    FinetuiApp(Backend(config, target), config, open_run).run()


def refuse_dumb_terminal() -> None:
    """Raise InvalidInput where there is no terminal, or one that can't move its cursor."""
    remedy = "use the command line: finetui runs, finetui status RUN, finetui logs RUN -f"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidInput("the app needs a terminal", remedy=remedy)
    if os.environ.get("TERM", "") in ("dumb", "unknown", ""):
        raise InvalidInput(
            f"TERM={os.environ.get('TERM', '')}: this terminal can't show the app", remedy=remedy
        )

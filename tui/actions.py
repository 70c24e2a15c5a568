"""Every action of the app in one table: it feeds keys, footer, help, command palette and docs.

A key is remapped by its action's id in the config file's ``keys``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

#: The places where an action can apply, in the order in which help lists them.
PLACES = {
    "app": "Everywhere",
    "runs": "Runs",
    "launch": "Launch",
    "run": "Run",
    "chat": "Chat",
    "compare": "Compare",
    "files": "Files",
}


@dataclass(frozen=True)
class Action:
    """One thing that a key does: ``method`` is the Textual action that the screen (or the app) defines."""

    id: str
    keys: str
    method: str
    label: str
    help: str
    shown: bool = False
    #: True for keys that must work while a text field has the focus.
    priority: bool = False
    #: True when the command palette can offer it.
    palette: bool = True

    @property
    def place(self) -> str:
        """Where the action applies: the part of its id before the dot."""
        return self.id.partition(".")[0]


ACTIONS: tuple[Action, ...] = (
    Action("app.help", "question_mark,f1", "help", "Help", "Show all keys of this screen", True),
    Action("app.palette", "ctrl+p", "command_palette", "Commands", "Search every command", palette=False),
    Action("app.theme", "f2", "next_theme", "Theme", "Switch to the next theme"),
    Action("app.problems", "f8", "problems", "Problems", "Show what went wrong so far, with details to copy"),
    Action("app.reconnect", "f9", "reconnect", "Reconnect", "Try the lost connections now"),
    Action("app.quit", "q,ctrl+q", "quit", "Quit", "Leave finetui; runs go on without it", True),
    # Runs
    Action("runs.open", "enter", "open_run", "Open", "Open the run under the cursor", True),
    Action("runs.launch", "n", "launch", "New run", "Pick a preset and data, and launch a run", True),
    Action("runs.chat", "c", "chat", "Chat", "Chat with the newest checkpoint of the run", True),
    Action("runs.stop", "s", "stop_run", "Stop", "Save a checkpoint and stop the run", True),
    Action("runs.resume", "r", "resume_run", "Resume", "Go on from the newest resumable checkpoint", True),
    Action(
        "runs.delete", "d", "delete_run", "Delete", "Delete the run with its checkpoints, after asking", True
    ),
    Action("runs.filter", "slash", "filter", "Filter", "Show only runs whose row contains a text"),
    Action("runs.mark", "space", "mark", "Mark", "Mark the run for a comparison"),
    Action("runs.compare", "v,x", "compare", "Compare", "Compare the marked runs: loss curves and settings"),
    Action("runs.sort", "o", "sort", "Sort", "Sort by the next of newest, loss, state, preset"),
    Action("runs.files", "f", "files", "Files", "Browse the run folders of the machine"),
    Action("runs.demo", "t", "demo", "Try the demo", "Train a small model here, in a minute or two"),
    Action("runs.copy", "y", "copy_run", "Copy id", "Copy the run's id to the clipboard"),
    Action("runs.down", "j", "cursor('down')", "Down", "Next run", palette=False),
    Action("runs.up", "k", "cursor('up')", "Up", "Previous run", palette=False),
    Action("runs.top", "g", "cursor('top')", "First", "First run", palette=False),
    Action("runs.bottom", "G", "cursor('bottom')", "Last", "Last run", palette=False),
    # Launch
    Action("launch.launch", "ctrl+l", "launch", "Launch", "Launch what the preview shows", True, True),
    Action("launch.presets", "f3", "show('presets')", "Presets", "Go to the list of presets", True, True),
    Action("launch.settings", "f4", "show('settings')", "Settings", "Go to the form", True, True),
    Action("launch.preview", "f5", "show('preview')", "Preview", "Go to the preview", True, True),
    Action("launch.more", "f6", "more", "More settings", "Show or hide rarer settings", False, True),
    Action("launch.save", "ctrl+s", "save", "Save preset", "Keep this as a preset of my own", False, True),
    Action("launch.edit", "ctrl+e", "edit", "Edit YAML", "Edit my preset's YAML in $EDITOR", False, True),
    Action("launch.zoom", "f7", "zoom", "Zoom", "Give the panel the whole screen, or back", False, True),
    Action("launch.back", "escape", "back", "Back", "Back to the runs; nothing is launched", True),
    # Run
    Action("run.stop", "s", "stop_run", "Stop", "Save a checkpoint and stop the run", True),
    Action("run.resume", "r", "resume_run", "Resume", "Go on from the selected checkpoint", True),
    Action("run.chat", "c", "chat", "Chat", "Chat with the selected checkpoint, or the newest", True),
    Action("run.delete", "d", "delete_run", "Delete", "Delete the run with its checkpoints, after asking"),
    Action("run.zoom", "z", "zoom", "Zoom", "Give the focused panel the whole screen, or back", True),
    Action("run.loss", "1", "panel('loss')", "Loss", "Focus the loss chart"),
    Action("run.lr", "2", "panel('lr')", "Learning rate", "Focus the learning rate chart"),
    Action("run.grad", "3", "panel('grad')", "Gradient norm", "Focus the gradient norm chart"),
    Action("run.speed", "4", "panel('speed')", "Tokens/s", "Focus the throughput chart"),
    Action("run.machine", "5", "panel('machine')", "Machine", "Focus the gauges"),
    Action("run.log", "6", "panel('log')", "Log", "Focus the log"),
    Action("run.checkpoints", "7", "panel('checkpoints')", "Checkpoints", "Focus the list of checkpoints"),
    Action("run.findings", "a", "findings", "Findings", "List what looked wrong, each with what to do"),
    Action("run.copy", "i", "copy_run", "Copy id", "Copy the run's id to the clipboard"),
    Action("run.back", "escape", "back", "Back", "Back to the runs, or out of the zoom", True),
    # Chat
    Action(
        "chat.send",
        "enter",
        "send",
        "Send",
        "Send the prompt (ctrl+j starts a new line)",
        True,
        palette=False,
    ),
    Action(
        "chat.back",
        "escape",
        "stop_or_back",
        "Stop/back",
        "Stop the reply and keep it; else go back",
        True,
        True,
    ),
    Action("chat.side", "ctrl+o", "side", "Parameters", "Show or hide the parameters", True, True),
    Action("chat.retry", "ctrl+r", "retry", "Retry", "Ask for the last reply again", False, True),
    Action("chat.compare", "ctrl+b", "compare", "Side by side", "Base beside the checkpoint", True, True),
    Action("chat.new", "ctrl+n", "new", "New chat", "Forget this conversation and start again", False, True),
    # Compare
    Action("compare.axis", "a", "axis", "X axis", "Draw by step, by time or by tokens", True),
    Action("compare.back", "escape", "back", "Back", "Back to the runs", True),
    # Files
    Action("files.view", "enter", "view", "View", "Open the folder or text file", True, palette=False),
    Action("files.download", "w", "download", "Download", "Save the file or folder on this machine", True),
    Action("files.delete", "d", "delete", "Delete", "Delete the run or checkpoint, after asking", True),
    Action("files.sort", "o", "sort", "Sort", "Sort by the next of name, size, newest"),
    Action("files.up", "backspace", "up", "Up", "Go to the folder above", True),
    Action("files.back", "escape", "back", "Back", "Back to the runs", True),
)


def actions_for(place: str) -> Iterator[Action]:
    """Yield the actions of one place."""
    return (action for action in ACTIONS if action.place == place)


def unknown_ids(keymap: dict[str, str]) -> list[str]:
    """Return the ids of a config's ``keys`` that no action has."""
    known = {action.id for action in ACTIONS}
    return sorted(set(keymap) - known)


def key_label(keys: str) -> str:
    """Return keys as a person writes them: ``f1,question_mark`` becomes ``F1 ?``."""
    return " ".join(_one_key(key) for key in keys.split(","))


def _one_key(key: str) -> str:
    named = {"question_mark": "?", "slash": "/", "escape": "esc", "ampersand": "&"}
    if key in named:
        return named[key]
    if len(key) > 1 and key[0] == "f" and key[1:].isdigit():
        return key.upper()
    return key

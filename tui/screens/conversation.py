"""A chat as data: turns, parameters and the slash commands that change them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from presets.errors import InvalidInput
from tui.errors import FinetuiError
from tui.screens.wording import plural


@dataclass(frozen=True)
class Parameters:
    """How replies are sampled; a temperature of 0 is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512

    def with_value(self, name: str, text: str) -> Parameters:
        """Return a copy with one value from text; raises InvalidInput when it is out of its range."""
        name = name.replace("-", "_")
        limits = {"temperature": (0.0, 5.0), "top_p": (0.0, 1.0), "max_tokens": (1, 131072)}
        if name not in limits:
            known = ", ".join(item.name for item in fields(self))
            raise InvalidInput(f"unknown parameter {name!r}", remedy=f"one of: {known}")
        low, high = limits[name]
        try:
            value = int(text) if name == "max_tokens" else float(text)
        except ValueError as error:
            raise InvalidInput(f"{name} is not a number: {text!r}") from error
        if not low <= value <= high or (name == "top_p" and value == 0):
            raise InvalidInput(
                f"{name} must be within {low} and {high}", remedy="0 means greedy for temperature"
            )
        return replace(self, **{name: value})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Turn:
    """One prompt, or one reply with what its making took."""

    role: str
    text: str
    note: str = ""


@dataclass
class Settings:
    """How replies are asked for: shared by all models of a chat, changed as the user goes."""

    system: str = ""
    parameters: Parameters = field(default_factory=Parameters)


@dataclass
class Conversation:
    """The turns with one model so far."""

    settings: Settings = field(default_factory=Settings)
    turns: list[Turn] = field(default_factory=list)

    def messages(self) -> list[dict[str, str]]:
        """Return the conversation as an OpenAI client sends it."""
        system = self.settings.system
        head = [{"role": "system", "content": system}] if system else []
        return head + [{"role": turn.role, "content": turn.text} for turn in self.turns]

    def drop_reply(self) -> bool:
        """Drop the last reply, so that it can be asked for again; False when there is no prompt to repeat."""
        if self.turns and self.turns[-1].role == "assistant":
            self.turns.pop()
        return bool(self.turns) and self.turns[-1].role == "user"

    def undo(self) -> str:
        """Drop the last prompt with its reply and return the prompt; empty when there was none."""
        if self.turns and self.turns[-1].role == "assistant":
            self.turns.pop()
        return self.turns.pop().text if self.turns else ""

    def save_row(self, path: Path) -> None:
        """Append the conversation to a JSONL file as a training row (messages); raises FinetuiError."""
        if not any(turn.role == "assistant" for turn in self.turns):
            raise InvalidInput("there is no reply to save yet", remedy="ask something first")
        row = json.dumps({"messages": self.messages()}, ensure_ascii=False)
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(row + "\n")
        except OSError as error:
            raise FinetuiError(
                f"can't write {path}",
                cause=error.strerror or str(error),
                remedy="name another file: /save FILE",
            ) from error


#: Slash command -> (arguments, what it does); the chat screen has a method for each.
COMMANDS: dict[str, tuple[str, str]] = {
    "/new": ("", "forget this conversation and start again"),
    "/retry": ("", "ask for the last reply again"),
    "/undo": ("", "take back the last prompt and its reply"),
    "/system": ("TEXT", "set the system prompt; without a text, remove it"),
    "/set": ("NAME VALUE", "set temperature, top_p or max_tokens"),
    "/compare": ("[STEP|base]", "put another checkpoint, or the base, beside this one; again ends it"),
    "/prompt": ("", "show what is sent, turn by turn"),
    "/save": ("[FILE]", "append the conversation to a JSONL file, as a training row"),
    "/help": ("", "list these commands"),
    "/quit": ("", "leave the chat"),
}


def parse_command(text: str) -> tuple[str, str] | None:
    """Return (command, argument) of a line that is a slash command; None when it is a prompt.

    Raises InvalidInput for an unknown command; a path such as ``/etc/hosts`` or a second slash is a prompt.
    """
    if not text.startswith("/") or "\n" in text:
        return None
    name, _, argument = text.partition(" ")
    if "/" in name[1:] or len(name) < 2:
        return None
    if name not in COMMANDS:
        raise InvalidInput(f"unknown command {name}", remedy=f"one of: {' '.join(COMMANDS)}")
    return name, argument.strip()


def speed_note(tokens: int, ttft_s: float, tokens_per_s: float) -> str:
    """Return the line under a reply: tokens, time to first token in seconds, tokens per second."""
    parts = [plural(tokens, "token"), f"first after {ttft_s:.2f} s"]
    if tokens_per_s > 0:
        parts.append(f"{tokens_per_s:.1f} tok/s")
    return " · ".join(parts)

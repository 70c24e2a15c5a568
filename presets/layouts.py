"""Recognises a dataset by its columns and turns each row into a conversation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from presets.errors import InvalidInput
from presets.mapping import EXAMPLE, Mapping
from presets.rows import Row

#: Name of the layout, the columns that it is known by, and the role of each column that it reads.
#: The order of the roles is the order in which the columns of the user's turn are joined.
KNOWN = (
    *(
        (
            f"{prompt}/chosen/rejected",
            (prompt, "chosen", "rejected"),
            {
                prompt: "prompt",
                "input": "input",
                "chosen": "response",
                "rejected": "rejected",
                "system": "system",
            },
        )
        for prompt in ("prompt", "question", "instruction")
    ),
    ("messages", ("messages",), {"messages": "messages", "system": "system"}),
    ("sharegpt", ("conversations",), {"conversations": "messages", "system": "system"}),
    (
        "alpaca",
        ("instruction", "output"),
        {"instruction": "prompt", "input": "input", "output": "response", "system": "system"},
    ),
    (
        "prompt/completion",
        ("prompt", "completion"),
        {"prompt": "prompt", "completion": "response", "system": "system"},
    ),
    (
        "prompt/response",
        ("prompt", "response"),
        {"prompt": "prompt", "input": "input", "response": "response", "system": "system"},
    ),
    (
        "question/context/answer",
        ("question", "answer"),
        {"question": "prompt", "context": "input", "answer": "response", "system": "system"},
    ),
    ("text", ("text",), {"text": "text"}),
)

#: Columns that say that rows are not text alone.
MEDIA = frozenset({"image", "images", "video", "videos", "audio", "audios"})

#: The roles of messages as they are written, and as we name them.
SPEAKERS = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}


@dataclass(frozen=True)
class Turn:
    """One message; role is system, user, assistant, text for a row of plain text, or rejected.

    A rejected turn comes last, after the assistant's that was chosen over it.
    """

    role: str
    content: str


Conversation = tuple[Turn, ...]


@dataclass(frozen=True)
class Layout:
    """How rows are read; columns without a role are ignored."""

    name: str
    mapping: Mapping
    #: Columns that would have a role but that the first row lacks; a later row with one is a mixed dataset.
    absent: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        """True for plain text to continue (pre-training), without turns."""
        return bool(self.mapping.columns("text"))

    @property
    def is_pairs(self) -> bool:
        """True for a chosen and a rejected answer to each prompt."""
        return bool(self.mapping.columns("rejected"))

    @property
    def of_messages(self) -> bool:
        """True for a list of messages in each row."""
        return bool(self.mapping.columns("messages"))


def recognise(path: Path, columns: Iterable[str], mapping: Mapping | None) -> Layout:
    """Return the layout of rows with these columns; raises InvalidInput listing them when there is none."""
    seen = list(columns)
    if mapping is not None:
        missing = [column for column, _ in mapping.pairs if column not in seen]
        if missing:
            raise InvalidInput(
                f"{path}, row 1 has no column {missing[0]!r}, which --map names.",
                cause=f"Its columns are: {_listed(seen)}.",
                remedy="Name a column that is there.",
            )
        return Layout("mapped", mapping)
    _refuse_media(path, seen)
    for name, required, roles in KNOWN:
        if all(column in seen for column in required):
            pairs = tuple((column, role) for column, role in roles.items() if column in seen)
            return Layout(name, Mapping(pairs), tuple(column for column in roles if column not in seen))
    raise InvalidInput(
        f"{path}: the columns are not recognised.",
        cause=f"They are: {_listed(seen)}.",
        remedy=f"Say which is what, for example {EXAMPLE}",
    )


def _refuse_media(path: Path, columns: list[str]) -> None:
    media = [column for column in columns if column.lower() in MEDIA]
    if media:
        raise InvalidInput(
            f"{path}, row 1 has a column {media[0]!r}, and only text is trained here.",
            cause="Without its pictures or sounds such a row teaches the wrong thing.",
            remedy="Take such rows out, or name the columns to train with --map; others are left out.",
        )


def conversation(path: Path, row: Row, layout: Layout) -> Conversation:
    """Return the row's turns; raises InvalidInput naming the row where it can't be read as its layout."""
    mapping = layout.mapping
    _check_columns(path, row, layout)
    if layout.is_text:
        (column,) = mapping.columns("text")
        return (Turn("text", _text(path, row, column)),)
    system = [text for column in mapping.columns("system") if (text := _optional(path, row, column))]
    turns = [Turn("system", text) for text in system]
    if mapping.columns("messages"):
        (column,) = mapping.columns("messages")
        messages = _messages(path, row, column)
        if turns and messages[0].role == "system":
            raise InvalidInput(
                f"{row.where(path)} has a system message and a system column too.", remedy="Keep one."
            )
        return (*turns, *messages)
    prompts = [_text(path, row, column) for column in mapping.columns("prompt")]
    inputs = [text for column in mapping.columns("input") if (text := _optional(path, row, column))]
    (response,) = mapping.columns("response")
    turns += [Turn("user", "\n".join(prompts + inputs)), Turn("assistant", _text(path, row, response))]
    turns += [Turn("rejected", _text(path, row, column)) for column in mapping.columns("rejected")]
    return tuple(turns)


def _listed(columns: list[str]) -> str:
    return ", ".join(repr(column) for column in columns[:30]) or "none"


def _check_columns(path: Path, row: Row, layout: Layout) -> None:
    for column, _ in layout.mapping.pairs:
        if column not in row.values:
            raise InvalidInput(
                f"{row.where(path)} has no column {column!r}.",
                cause=f"Its columns are: {_listed(list(row.values))}.",
                remedy="Add it to the row, or take the row out: all rows need the same columns.",
            )
    for column in layout.absent:
        if column in row.values:
            raise InvalidInput(
                f"{row.where(path)} has a column {column!r}, which the first row lacks.",
                remedy='Give every row the same columns; write "" where one has nothing to say.',
            )


def _text(path: Path, row: Row, column: str) -> str:
    return _checked(path, row, column, row.values[column])


def _optional(path: Path, row: Row, column: str) -> str:
    value = row.values.get(column)
    return "" if value is None else _checked(path, row, column, value)


def _checked(path: Path, row: Row, place: str, value: Any) -> str:
    if not isinstance(value, str):
        kind = "null" if value is None else type(value).__name__
        raise InvalidInput(
            f"{row.where(path)}: {place} is {kind}, not text.", remedy="Write the value as text in quotes."
        )
    if "\0" in value:
        raise InvalidInput(f"{row.where(path)}: {place} has a NUL character.", remedy="Take it out.")
    return value


def _messages(path: Path, row: Row, column: str) -> Conversation:
    messages = row.values.get(column)
    if not isinstance(messages, list) or not messages:
        kind = "empty" if messages == [] else "missing" if messages is None else type(messages).__name__
        raise InvalidInput(
            f"{row.where(path)}: {column} is {kind}, not a list of messages.",
            remedy='Write [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}].',
        )
    turns = tuple(_turn(path, row, f"{column}[{index}]", message) for index, message in enumerate(messages))
    _check_alternation(path, row, column, turns)
    return turns


def _turn(path: Path, row: Row, place: str, message: Any) -> Turn:
    fields = message if isinstance(message, dict) else {}
    role_key, content_key = message_keys([message])
    if role_key not in fields or content_key not in fields:
        raise InvalidInput(
            f"{row.where(path)}: {place} has no role and content (or from and value).",
            remedy='Write messages as {"role": "user", "content": "..."}.',
        )
    role = fields[role_key]
    if not isinstance(role, str) or role not in SPEAKERS:
        raise InvalidInput(
            f"{row.where(path)}: {place} has the role {role!r}, which is not trained on.",
            cause=f"Roles are: {', '.join(SPEAKERS)}.",
            remedy="Rename the role, or take the row out (tool calls are not supported yet).",
        )
    return Turn(SPEAKERS[role], _checked(path, row, f"{place}.{content_key}", fields[content_key]))


def message_keys(messages: Any) -> tuple[str, str]:
    """Return the names of role and content in a row's list of messages, as its first one has them."""
    first = messages[0] if isinstance(messages, list) and messages else None
    return ("from", "value") if isinstance(first, dict) and "from" in first else ("role", "content")


def alternates(roles: tuple[str, ...]) -> bool:
    """Return whether user and assistant take turns, after an optional system message, to an answer."""
    turns = roles[1:] if roles[:1] == ("system",) else roles
    pairs = len(turns) // 2
    return pairs > 0 and turns == ("user", "assistant") * pairs


def _check_alternation(path: Path, row: Row, column: str, turns: Conversation) -> None:
    """User and assistant in turns, the user first, the assistant last: LLaMA-Factory skips other rows."""
    first = 1 if turns[0].role == "system" else 0
    for index, turn in enumerate(turns[first:]):
        expected = ("user", "assistant")[index % 2]
        if turn.role != expected:
            raise InvalidInput(
                f"{row.where(path)}: {column}[{first + index}] is from {turn.role}, "
                f"where {expected} was expected.",
                cause="After an optional system message, user and assistant take turns; the user begins.",
                remedy="Join or take out the message.",
            )
    if len(turns) == first or turns[-1].role != "assistant":
        raise InvalidInput(
            f"{row.where(path)}: {column} does not end with an answer of the assistant.",
            remedy="Add the answer, or take the row out.",
        )

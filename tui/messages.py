"""What threads tell the app; handlers on the event loop own all state.

Names are past participles. A message that may flood can be replaced by a newer one of the same source.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from textual.message import Message

from presets.errors import FinetuiError
from remote_agent.protocol import RunStatus, Sample

if TYPE_CHECKING:
    from tui.state.connection import ConnectionChanged
    from tui.state.history import HistoryEntry


class Conflated(Message):
    """A message of which only the newest of its source matters."""

    source = ""

    def can_replace(self, message: Message) -> bool:
        """Tell whether this one makes the waiting ``message`` needless."""
        return (
            type(message) is type(self) and isinstance(message, Conflated) and message.source == self.source
        )


class LinkChanged(Message):
    """A target's connection is connecting, live or lost."""

    def __init__(self, event: ConnectionChanged) -> None:
        super().__init__()
        self.event = event


class TargetDropped(Message):
    """A target that was named just now could not be reached, and is not tried again."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target


class HistoryRead(Message):
    """The runs of earlier sessions were read from this machine's history."""

    def __init__(self, entries: list[HistoryEntry]) -> None:
        super().__init__()
        self.entries = entries


class LossesRead(Message):
    """The losses of a run that an earlier session followed."""

    def __init__(self, run: str, losses: list[float]) -> None:
        super().__init__()
        self.run = run
        self.losses = losses


class RunsListed(Conflated):
    """All runs of a target, as it says."""

    def __init__(self, target: str, runs: Sequence[RunStatus]) -> None:
        super().__init__()
        self.source = target
        self.runs = runs


class SampleTaken(Conflated):
    """The machine's gauges moved."""

    def __init__(self, target: str, sample: Sample) -> None:
        super().__init__()
        self.source = target
        self.sample = sample


class LogExtended(Conflated):
    """A run's log has ``size`` bytes here; ``ended`` when that is all there will be."""

    def __init__(self, run: str, size: int, ended: bool) -> None:
        super().__init__()
        self.source = run
        self.size = size
        self.ended = ended


class MetricsAdded(Message):
    """More bytes of a run's metrics.jsonl, from ``offset`` of the file; at 0 what was known is void."""

    def __init__(self, run: str, offset: int, data: bytes) -> None:
        super().__init__()
        self.run = run
        self.offset = offset
        self.data = data


class Finished(Message):
    """Work in the background ended well; ``then`` takes its result, on the event loop."""

    def __init__(self, then: Callable[[Any], None], result: Any) -> None:
        super().__init__()
        self.then = then
        self.result = result


class Failed(Message):
    """Work in the background failed; ``instead`` shows it in its own place, else a dialog does."""

    def __init__(
        self, what: str, error: BaseException, instead: Callable[[BaseException], None] | None = None
    ) -> None:
        super().__init__()
        self.what = what
        self.error = error
        self.instead = instead


class QuestionAsked(Message):
    """Connecting needs an answer; ``answer`` must be called once, with None for no.

    ``secret`` asks for a text that isn't shown, else the question is yes or no (True).
    """

    def __init__(self, title: str, text: str, secret: bool, answer: Callable[[Any], None]) -> None:
        super().__init__()
        self.title = title
        self.text = text
        self.secret = secret
        self.answer = answer


class ChatPhase(Conflated):
    """A model is being loaded; ``text`` says how far it is."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class ReplyGrew(Message):
    """A piece of a reply came; ``stop`` is the event of the request it belongs to."""

    def __init__(self, text: str, stop: threading.Event) -> None:
        super().__init__()
        self.text = text
        self.stop_event = stop


class ReplyEnded(Message):
    """A reply is whole, was stopped, or failed with ``error``; ``note`` has its speed."""

    def __init__(self, note: str, stop: threading.Event, error: FinetuiError | None) -> None:
        super().__init__()
        self.note = note
        self.stop_event = stop
        self.error = error

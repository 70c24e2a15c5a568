"""A conversation as the model sees it: the text of the chat template, and which of it is trained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import groupby

import msgspec
from msgspec.structs import replace

from presets.layouts import Conversation, Turn
from presets.spec import RunSpec
from presets.yaml_file import parse_document


class Template(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a chat template writes turns; the fields are explained in templates.yaml."""

    prefix: str = ""
    system: str = "{content}"
    user: str = "{content}"
    assistant: str = "{content}{eos}"
    default_system: str = ""
    joined: bool = False
    last_eos: bool = False
    thought: tuple[str, str] | None = None
    bos: str = "<s>"
    eos: str = "</s>"


@dataclass(frozen=True)
class Part:
    """A piece of a row's text; the loss is reckoned on ``trained`` pieces only."""

    text: str
    trained: bool


def template_names() -> tuple[str, ...]:
    """Return the names of the templates that can be shown."""
    return tuple(_templates())


def find_template(name: str) -> Template | None:
    """Return the template of this name, None for one of the trainer's that is not known here."""
    return _templates().get(name)


def template_of(spec: RunSpec) -> Template | None:
    """Return the run's template with its own system text, None where the template is not known here."""
    template = find_template(spec.template)
    system = spec.trainer_args.get("default_system")
    if template is None or not isinstance(system, str):
        return template
    return replace(template, default_system=system)


def has_thinking(spec: RunSpec) -> bool:
    """Return whether a template with marks for reasoning trains them (the trainer's default)."""
    return spec.trainer_args.get("enable_thinking", True) is True


def preview(spec: RunSpec, turns: Conversation) -> tuple[Part, ...] | None:
    """Return a row as a run of ``spec`` sees it; None where its template is not known here.

    Of a pair it is the chosen answer that is shown: the rejected one is a text of its own.
    """
    template = template_of(spec)
    if turns[-1].role == "rejected":
        turns = turns[:-1]
    return None if template is None else parts(template, turns, thinking=has_thinking(spec))


def parts(template: Template, turns: Conversation, *, thinking: bool = True) -> tuple[Part, ...]:
    """Return a training row as the model sees it, adjoining pieces of one kind joined.

    With ``last_eos`` the model also learns to end each earlier answer with {eos}, which is not in the text
    there (LLaMA-Factory's ``efficient_eos``).
    """
    if turns[0].role == "text":
        return (Part(turns[0].content + template.eos, True),)
    pieces = list(_pieces(template, turns, thinking))
    if template.last_eos:
        pieces.append(Part(template.eos, True))
    grouped = groupby((piece for piece in pieces if piece.text), key=lambda piece: piece.trained)
    return tuple(Part("".join(piece.text for piece in group), trained) for trained, group in grouped)


def prompt(template: Template, turns: Conversation, *, thinking: bool = True) -> str:
    """Return the text that the model gets to answer; ``turns`` end with the user's.

    The reasoning of earlier answers is left out of it, as the trainer does when it serves a model.
    """
    history = [
        Turn(turn.role, _without_thought(template, turn.content)) if turn.role == "assistant" else turn
        for turn in turns
    ]
    text = "".join(piece.text for piece in _pieces(replace(template, thought=None), tuple(history), thinking))
    # Where reasoning is off the model finds an empty one; where it is on it writes its own.
    return text if thinking or template.thought is None else text + "".join(template.thought)


def _pieces(template: Template, turns: Conversation, thinking: bool) -> Iterator[Part]:
    has_system = turns[0].role == "system"
    exchanges = turns[1:] if has_system else turns
    system = (turns[0].content if has_system else "") or template.default_system
    opening = _filled(template, template.system, system) if system else ""
    yield Part(_filled(template, template.prefix, "") + ("" if template.joined else opening), False)
    for number, turn in enumerate(exchanges):
        if turn.role == "assistant":
            yield from _answer(template, turn.content, thinking)
        else:
            joined = opening if template.joined and number == 0 else ""
            yield Part(_filled(template, template.user, joined + turn.content), False)


def _answer(template: Template, text: str, thinking: bool) -> Iterator[Part]:
    if template.thought is not None:
        if not thinking:
            text = _without_thought(template, text)
        if not any(mark.strip() in text for mark in template.thought):
            # An answer without reasoning gets an empty one, trained only where reasoning is on.
            yield Part("".join(template.thought), thinking)
    yield Part(_filled(template, template.assistant, text), True)


def _without_thought(template: Template, text: str) -> str:
    if template.thought is None:
        return text
    begin, end = map(re.escape, template.thought)
    return re.sub(f"{begin}.*?{end}", "", text, flags=re.DOTALL).lstrip("\n")


def _filled(template: Template, form: str, content: str) -> str:
    """Put the tokenizer's tokens and the content into a form; marks inside the content stay as they are."""
    before, mark, after = (
        form.replace("{bos}", template.bos).replace("{eos}", template.eos).partition("{content}")
    )
    return before + content + after if mark else before


@cache
def _templates() -> dict[str, Template]:
    text = (resources.files("presets") / "templates.yaml").read_text(encoding="utf-8")
    return msgspec.convert(parse_document(text, "templates.yaml").values, dict[str, Template])

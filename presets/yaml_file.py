"""Strict YAML: JSON's scalars, no duplicate keys, no tags, no aliases; every key knows its line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from presets.errors import InvalidInput

#: A preset is a page of text; more is a mistake or an attack.
MAX_YAML_BYTES = 256 * 1024


@dataclass(frozen=True)
class Document:
    """A YAML mapping; ``lines`` has the line of each key, nested ones as ``outer.inner``."""

    source: str
    values: dict[str, Any]
    lines: dict[str, int] = field(default_factory=dict)

    def where(self, key: str) -> str:
        """Say where ``key`` stands: file, line and key."""
        line = self.lines.get(key)
        return f"{self.source}, line {line}, {key}" if line else f"{self.source}, {key}"


class _Loader(yaml.SafeLoader):
    """The safe loader with the scalars of YAML 1.2's core schema.

    PyYAML's own rules are YAML 1.1's: 1e-4 is a string, no is False, 010 is 8 and 1:30 is 90.
    """


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))",
        list("-+0123456789."),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^{_pattern}$"), _first)


def parse_scalar(text: str, source: str) -> Any:
    """Read one YAML value as typed on a command line; raises InvalidInput."""
    node = _compose(text, source)
    if isinstance(node, yaml.MappingNode):
        _note_lines(node, "", source, {})
    return _construct(node, source)


def parse_document(text: str, source: str) -> Document:
    """Read a YAML mapping; raises InvalidInput naming ``source``, the line and the key."""
    node = _compose(text, source)
    if not isinstance(node, yaml.MappingNode):
        raise InvalidInput(
            f"{source} is not a mapping of keys to values.", remedy="Write one `key: value` a line."
        )
    lines: dict[str, int] = {}
    _note_lines(node, "", source, lines)
    return Document(source, _construct(node, source), lines)


def _compose(text: str, source: str) -> yaml.Node | None:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_YAML_BYTES:
        raise InvalidInput(f"{source} is over {MAX_YAML_BYTES} bytes.", remedy="A preset is a page of text.")
    try:
        if "&" in text or "*" in text:
            _refuse_aliases(text, source)
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _invalid(error, source) from error
    except RecursionError as error:
        raise InvalidInput(f"{source} is nested too deeply.", remedy="Use flat keys.") from error


def _refuse_aliases(text: str, source: str) -> None:
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise InvalidInput(
                f"{source}, line {line}: YAML aliases (*{event.anchor}) are not accepted.",
                remedy="Write the value out, or put it in quotes if it is text.",
            )


def _construct(node: yaml.Node | None, source: str) -> Any:
    if node is None:
        return None
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError) as error:
        raise _invalid(error, source) from error
    finally:
        loader.dispose()


def _note_lines(node: yaml.MappingNode, prefix: str, source: str, lines: dict[str, int]) -> None:
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or not key_node.tag.endswith(":str"):
            raise InvalidInput(f"{source}, line {line}: a key is not text.", remedy="Put the key in quotes.")
        key = prefix + key_node.value
        if key in lines:
            raise InvalidInput(
                f"{source}, line {line}: the key {key} is there twice (first on line {lines[key]}).",
                remedy="Keep one of them.",
            )
        lines[key] = line
        if isinstance(value_node, yaml.MappingNode):
            _note_lines(value_node, key + ".", source, lines)


def _invalid(error: Exception, source: str) -> InvalidInput:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return InvalidInput(
        f"{source}{place} is not valid YAML.",
        cause=str(problem),
        remedy="Only plain keys, text, numbers, lists and mappings are read; quote text that has : # or !.",
    )

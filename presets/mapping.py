"""Which column of a dataset plays which role: ``--map question=prompt,context=input,answer=response``."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from presets.errors import InvalidInput

ROLES = ("prompt", "input", "response", "rejected", "system", "messages", "text")
EXAMPLE = "--map question=prompt,context=input,answer=response"


@dataclass(frozen=True)
class Mapping:
    """Columns by role; several columns of one role are joined by newlines, in the order given."""

    pairs: tuple[tuple[str, str], ...]

    def columns(self, role: str) -> tuple[str, ...]:
        """Return the columns that play ``role``."""
        return tuple(column for column, its_role in self.pairs if its_role == role)

    def __str__(self) -> str:
        return ",".join(f"{column}={role}" for column, role in self.pairs)


def parse_mapping(text: str) -> Mapping | None:
    """Read ``COLUMN=ROLE,...``; None for an empty text, which means: recognise the columns.

    Raises InvalidInput for a malformed pair, an unknown role, a column named twice, and roles that don't
    make a dataset together.
    """
    if not text.strip():
        return None
    pairs: list[tuple[str, str]] = []
    for item in text.split(","):
        column, equals, role = (part.strip() for part in item.rpartition("="))
        if not equals or not column:
            raise InvalidInput(f"--map {text}: {item!r} is not COLUMN=ROLE.", remedy=f"Write {EXAMPLE}")
        if role not in ROLES:
            near = difflib.get_close_matches(role, ROLES, n=1)
            raise InvalidInput(
                f"--map {text}: there is no role {role!r}.",
                cause=f"The roles are: {', '.join(ROLES)}.",
                remedy=f"Did you mean {column}={near[0]}?" if near else f"Write {EXAMPLE}",
            )
        if column in (known for known, _ in pairs):
            raise InvalidInput(
                f"--map {text}: the column {column} is there twice.", remedy="Keep one of them."
            )
        pairs.append((column, role))
    _check_roles(text, {role for _, role in pairs})
    _check_single(text, pairs)
    return Mapping(tuple(pairs))


def _check_roles(text: str, roles: set[str]) -> None:
    for alone, others in (("text", roles - {"text"}), ("messages", roles - {"messages", "system"})):
        if alone in roles:
            if others:
                raise InvalidInput(
                    f"--map {text}: the role {alone} can't stand beside {', '.join(sorted(others))}.",
                    remedy=f"Map one column to {alone} and leave the others out.",
                )
            return
    missing = [role for role in ("prompt", "response") if role not in roles]
    if missing:
        raise InvalidInput(
            f"--map {text}: no column has the role {' or '.join(missing)}.",
            cause="A row needs prompt and response, or messages, or text.",
            remedy=f"Write for example {EXAMPLE}",
        )


def _check_single(text: str, pairs: list[tuple[str, str]]) -> None:
    for role in ("messages", "response", "rejected", "system", "text"):
        columns = [column for column, its_role in pairs if its_role == role]
        if len(columns) > 1:
            raise InvalidInput(
                f"--map {text}: {' and '.join(columns)} both have the role {role}.",
                remedy="Only prompt and input may have several columns; keep one.",
            )

"""OpenSSH's known_hosts files: which host keys are known, changed or revoked.

Patterns, negation, hashed names, ``[host]:port`` and markers follow sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
paramiko's own reader refuses a whole file for one ``@revoked`` line and knows no wildcards.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

DEFAULT_PORT = 22


class Verdict(Enum):
    """What the files say of a key that a host presents."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


@dataclass(frozen=True)
class KnownLine:
    """One usable line; ``marker`` is "", "revoked" or "cert-authority"."""

    file: Path
    line: int
    marker: str
    names: str
    key_type: str
    key: bytes

    @property
    def place(self) -> str:
        """The file and line, as an editor takes it."""
        return f"{self.file}:{self.line}"

    def matches(self, name: str) -> bool:
        """Say whether this line is about ``name`` (``host`` or ``[host]:port``)."""
        return names_match(self.names, name)


@dataclass(frozen=True)
class Finding:
    """A verdict and the line that led to it (None when nothing is known)."""

    verdict: Verdict
    line: KnownLine | None = None


@dataclass(frozen=True)
class KnownHosts:
    """The usable lines of some files, in order."""

    lines: tuple[KnownLine, ...]

    def key_types(self, name: str, bare: str = "") -> tuple[str, ...]:
        """Return the types of the keys known for ``name`` or ``bare``, without duplicates."""
        known = [line.key_type for line in self._about(name) if not line.marker]
        if bare:
            known += [line.key_type for line in self._about(bare) if not line.marker]
        return tuple(dict.fromkeys(known))

    def check(self, name: str, key_type: str, key: bytes, bare: str = "") -> Finding:
        """Judge ``key`` for ``name``.

        ``bare`` is the host without its port: its lines can vouch for a key (as OpenSSH lets them) or revoke
        it, never make it "changed". A host that presents no type that is known of it counts as changed.
        """
        about = [*self._about(name)]
        about_bare = [*self._about(bare)] if bare else []
        for line in about + about_bare:
            if line.marker == "revoked" and line.key == key:
                return Finding(Verdict.REVOKED, line)
        plain = [line for line in about if not line.marker]
        for line in plain + [line for line in about_bare if not line.marker]:
            if (line.key_type, line.key) == (key_type, key):
                return Finding(Verdict.KNOWN, line)
        if plain:
            same_type = [line for line in plain if line.key_type == key_type]
            return Finding(Verdict.CHANGED, (same_type or plain)[0])
        return Finding(Verdict.UNKNOWN)

    def certificate_authorities(self, name: str) -> tuple[KnownLine, ...]:
        """Return the ``@cert-authority`` lines about ``name``; they are not used, only told of."""
        return tuple(line for line in self._about(name) if line.marker == "cert-authority")

    def _about(self, name: str) -> Iterator[KnownLine]:
        return (line for line in self.lines if line.matches(name))


def host_name(host: str, port: int) -> str:
    """Return the name under which known_hosts files keep ``host`` at ``port``."""
    host = host.lower()
    return host if port == DEFAULT_PORT else f"[{host}]:{port}"


def fingerprint(key: bytes) -> str:
    """Return the SHA256 fingerprint of a public key blob, as ``ssh-keygen -l`` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode("ascii").rstrip("=")


def read_known_hosts(files: Iterable[Path]) -> KnownHosts:
    """Read ``files``; absent or unreadable ones and lines that are not understood count as empty."""
    lines: list[KnownLine] = []
    for file in files:
        try:
            text = file.read_text("utf-8", errors="replace")
        except OSError:
            continue
        for number, raw in enumerate(text.split("\n"), start=1):
            line = parse_line(raw, file, number)
            if line is not None:
                lines.append(line)
    return KnownHosts(tuple(lines))


def parse_line(raw: str, file: Path, number: int) -> KnownLine | None:
    """Return the line, or None for a comment, an unknown marker or anything malformed."""
    words = raw.strip(" \t\r").split()
    if not words or words[0].startswith("#"):
        return None
    marker = ""
    if words[0].startswith("@"):
        marker = words.pop(0)[1:]
        if marker not in ("revoked", "cert-authority"):
            return None
    if len(words) < 3:
        return None
    names, key_type, encoded = words[:3]
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    if _type_of(key) != key_type:
        return None
    return KnownLine(file, number, marker, names, key_type, key)


def names_match(names: str, name: str) -> bool:
    """Match a line's first field against ``name``: one hashed name, or a list of patterns."""
    if names.startswith("|"):
        return _hash_matches(names, name)
    matched = False
    for pattern in names.lower().split(","):
        negated = pattern.startswith("!")
        if _pattern(pattern[negated:]).fullmatch(name.lower()):
            if negated:
                return False
            matched = True
    return matched


def remember(file: Path, name: str, key_type: str, key: bytes) -> None:
    """Append a line to ``file`` (0600, created when absent); raises OSError."""
    line = f"{name} {key_type} {base64.b64encode(key).decode('ascii')}\n".encode()
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def forget(file: Path, name: str) -> None:
    """Take the lines about exactly ``name`` out of ``file``, all at once; raises OSError."""
    try:
        lines = file.read_text("utf-8", errors="surrogateescape").splitlines(keepends=True)
    except FileNotFoundError:
        return
    kept = [line for line in lines if line.split(maxsplit=1)[:1] != [name]]
    if kept == lines:
        return
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as out:
        out.writelines(kept)
    Path(temporary).replace(file)


def _hash_matches(names: str, name: str) -> bool:
    parts = names.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, digest = base64.b64decode(parts[2], validate=True), base64.b64decode(parts[3], validate=True)
    except (binascii.Error, ValueError):
        return False
    # SHA-1 is the file format's choice; it hides names, it does not protect keys.
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)


@functools.lru_cache(maxsize=4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.compile("".join(parts), re.DOTALL)


def _type_of(key: bytes) -> str:
    length = int.from_bytes(key[:4], "big")
    return key[4 : 4 + length].decode("ascii", "replace") if len(key) >= 4 else ""

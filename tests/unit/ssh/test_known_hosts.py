"""Matching, judging and remembering host keys; ssh-keygen is the referee where it is installed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tui.remote.known_hosts import (
    Verdict,
    fingerprint,
    host_name,
    names_match,
    parse_line,
    read_known_hosts,
    remember,
)


def blob(kind: str = "ssh-ed25519", seed: int = 1) -> bytes:
    name = kind.encode()
    body = bytes([seed]) * 32
    return len(name).to_bytes(4, "big") + name + len(body).to_bytes(4, "big") + body


def line(names: str, kind: str = "ssh-ed25519", seed: int = 1, marker: str = "") -> str:
    return f"{marker} {names} {kind} {base64.b64encode(blob(kind, seed)).decode()}".strip()


def hashed(name: str, salt: bytes = b"0123456789abcdefghij") -> str:
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def known(tmp_path: Path, *lines: str):
    file = tmp_path / "known_hosts"
    file.write_text("\n".join(lines) + "\n")
    return read_known_hosts([file])


@pytest.mark.parametrize(
    ("names", "name", "expected"),
    [
        ("pod", "pod", True),
        ("POD", "pod", True),
        ("pod", "POD", True),
        ("other,pod", "pod", True),
        ("pod", "pod.example", False),
        ("*.example", "pod.example", True),
        ("po?", "pod", True),
        ("po?", "po", False),
        ("*,!pod", "pod", False),
        ("!pod,*", "pod", False),
        ("!pod", "other", False),
        ("[1.2.3.4]:2222", "[1.2.3.4]:2222", True),
        ("1.2.3.4", "[1.2.3.4]:2222", False),
        ("[1.2.3.*]:*", "[1.2.3.4]:2222", True),
        (hashed("pod"), "pod", True),
        (hashed("pod"), "pods", False),
        (hashed("[1.2.3.4]:2222"), "[1.2.3.4]:2222", True),
        ("|1|not base64|x", "pod", False),
        ("|2|MDEy|MDEy", "pod", False),
        ("", "pod", False),
    ],
)
def test_names_match_as_the_manual_says(names: str, name: str, expected: bool) -> None:
    assert names_match(names, name) is expected


def test_a_known_key_is_known_and_its_place_is_told(tmp_path: Path) -> None:
    finding = known(tmp_path, "# comment", "", line("pod")).check("pod", "ssh-ed25519", blob())
    assert finding.verdict is Verdict.KNOWN
    assert finding.line is not None and finding.line.line == 3


def test_another_key_of_the_host_is_changed_and_names_file_and_line(tmp_path: Path) -> None:
    finding = known(tmp_path, line("other", seed=2), line("pod")).check("pod", "ssh-ed25519", blob(seed=2))
    assert finding.verdict is Verdict.CHANGED
    assert finding.line is not None
    assert finding.line.place == f"{tmp_path / 'known_hosts'}:2"


def test_a_host_that_shows_none_of_its_known_types_is_changed(tmp_path: Path) -> None:
    finding = known(tmp_path, line("pod")).check("pod", "ssh-rsa", blob("ssh-rsa"))
    assert finding.verdict is Verdict.CHANGED


def test_several_keys_of_one_host_are_all_known(tmp_path: Path) -> None:
    hosts = known(tmp_path, line("pod", seed=1), line("pod", seed=2), line("pod", "ssh-rsa"))
    assert hosts.check("pod", "ssh-ed25519", blob(seed=2)).verdict is Verdict.KNOWN
    assert hosts.key_types("pod") == ("ssh-ed25519", "ssh-rsa")


def test_the_bare_host_vouches_for_a_port_but_never_makes_it_changed(tmp_path: Path) -> None:
    hosts = known(tmp_path, line("1.2.3.4"))
    name = host_name("1.2.3.4", 2222)
    assert hosts.check(name, "ssh-ed25519", blob(), "1.2.3.4").verdict is Verdict.KNOWN
    assert hosts.check(name, "ssh-ed25519", blob(seed=2), "1.2.3.4").verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("names", ["pod", "*", "10.0.0.1"])
def test_a_revoked_key_is_revoked_even_where_it_is_also_known(tmp_path: Path, names: str) -> None:
    hosts = known(tmp_path, line("pod"), line(names, marker="@revoked"))
    bare = "10.0.0.1" if names == "10.0.0.1" else ""
    assert hosts.check("pod", "ssh-ed25519", blob(), bare).verdict is Verdict.REVOKED
    assert hosts.check("pod", "ssh-ed25519", blob(seed=2), bare).verdict is Verdict.CHANGED


def test_a_certificate_authority_vouches_for_nothing_and_is_told_of(tmp_path: Path) -> None:
    hosts = known(tmp_path, line("pod", marker="@cert-authority"))
    assert hosts.check("pod", "ssh-ed25519", blob()).verdict is Verdict.UNKNOWN
    assert [found.line for found in hosts.certificate_authorities("pod")] == [1]


@pytest.mark.parametrize(
    "bad",
    [
        "@strange pod ssh-ed25519 AAAA",
        "pod ssh-ed25519",
        "pod ssh-ed25519 !!!!",
        "pod ssh-rsa " + base64.b64encode(blob()).decode(),
        "pod 2048 65537 123456789",
        "\x00\xff",
        "@revoked",
    ],
)
def test_a_bad_line_spoils_only_itself(tmp_path: Path, bad: str) -> None:
    assert parse_line(bad, Path("f"), 1) is None
    assert known(tmp_path, bad, line("pod")).check("pod", "ssh-ed25519", blob()).verdict is Verdict.KNOWN


def test_absent_and_unreadable_files_are_empty(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    assert read_known_hosts([tmp_path / "absent", tmp_path, tmp_path / "binary"]).lines == ()


def test_what_is_remembered_is_known_and_private_even_after_a_torn_line(tmp_path: Path) -> None:
    file = tmp_path / "own"
    remember(file, "[h]:1", "ssh-ed25519", blob())
    file.write_bytes(file.read_bytes() + b"torn")
    remember(file, "[h]:2", "ssh-ed25519", blob(seed=2))
    hosts = read_known_hosts([file])
    assert hosts.check("[h]:1", "ssh-ed25519", blob()).verdict is Verdict.KNOWN
    assert hosts.check("[h]:2", "ssh-ed25519", blob(seed=2)).verdict is Verdict.KNOWN
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_fingerprint_is_the_one_that_ssh_keygen_prints(tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen here")
    file = tmp_path / "key.pub"
    file.write_text(f"ssh-ed25519 {base64.b64encode(blob()).decode()} c\n")
    printed = subprocess.run(["ssh-keygen", "-lf", file], capture_output=True, text=True, check=True).stdout
    assert fingerprint(blob()) in printed


_LABEL = st.text("ab1", min_size=1, max_size=2)
_HOST = st.one_of(
    st.lists(_LABEL, min_size=1, max_size=3).map(".".join),
    st.builds(lambda label, port: f"[{label}]:{port}", _LABEL, st.sampled_from([22, 2222])),
)
_PATTERN = st.one_of(_HOST, st.text("ab1.*?[]:", min_size=1, max_size=5))
_NAMES = st.one_of(
    _HOST.map(hashed),
    st.lists(
        st.builds(lambda negate, text: negate + text, st.sampled_from(["", "", "!"]), _PATTERN),
        min_size=1,
        max_size=3,
    ).map(",".join),
)
_LINE = st.one_of(
    st.builds(line, _NAMES, marker=st.sampled_from(["", "", "@revoked", "@cert-authority", "@odd"])),
    st.sampled_from(["", "# a comment", "nonsense"]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(_LINE, min_size=1, max_size=6), name=_HOST)
def test_the_same_lines_match_as_ssh_keygen_finds(tmp_path: Path, lines: list[str], name: str) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen here")
    file = tmp_path / "known_hosts"
    file.write_text("\n".join(lines) + "\n")
    printed = subprocess.run(
        ["ssh-keygen", "-F", name, "-f", file], capture_output=True, text=True, check=False
    ).stdout
    referee = [int(number) for number in re.findall(r"found: line (\d+)", printed)]
    ours = [found.line for found in read_known_hosts([file]).lines if found.matches(name)]
    assert ours == referee

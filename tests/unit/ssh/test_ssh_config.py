"""Addresses and the effective configuration of a hop."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui.errors import InvalidInput
from tui.remote.ssh_config import (
    Address,
    config_from_options,
    default_identity,
    effective_config,
    parse_address,
    parse_ssh_g,
    split_paths,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pod", Address("pod")),
        ("root@1.2.3.4:22", Address("1.2.3.4", "root", 22)),
        ("ssh://me@pod:2222/", Address("pod", "me", 2222)),
        ("[::1]:2222", Address("::1", None, 2222)),
        ("[::1]", Address("::1")),
        ("fe80::1", Address("fe80::1")),
        ("user@realm@bastion", Address("bastion", "user@realm")),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert parse_address(text) == expected
    assert parse_address(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "@", "user@", "pod:", "pod:x", "pod:0", "pod:65536", "pod:٣", "-oProxyCommand=x", "-l@pod",
     "a b", "a;b", "$(x)@pod", "po\nd", "po`d`", "[::1", "user@-pod"],
)  # fmt: skip
def test_what_is_no_address_is_refused_before_anything_runs(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_address(text)
    assert caught.value.exit_code == 2


def test_the_output_of_ssh_g_becomes_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    config = config_from_options(
        parse_address("pod"),
        parse_ssh_g(
            "hostname 10.0.0.7\nport 2200\nuser root\nidentityfile ~/.ssh/%r_key\n"
            "identityfile /keys/with space\n"
            "identitiesonly yes\nproxycommand nc %h %p %r %n %%h\nhostkeyalias Fixed\nproxyjump a@j1:1,j2\n"
            "userknownhostsfile /home/me/.ssh/k1 /tmp/a b/k2\nglobalknownhostsfile none\nconnecttimeout 7\n"
            "stricthostkeychecking true\n"
        ),
    )
    assert (config.hostname, config.port, config.user) == ("10.0.0.7", 2200, "root")
    assert config.identity_files == (Path("/home/me/.ssh/root_key"), Path("/keys/with space"))
    assert config.identities_only
    assert config.strict
    assert config.proxy_command == "nc 10.0.0.7 2200 root pod %h"
    assert config.proxy_jump == (Address("j1", "a", 1), Address("j2"))
    assert config.known_hosts_name == "fixed"
    assert config.bare_name == ""
    assert config.known_hosts_files == (Path("/home/me/.ssh/k1"), Path("/tmp/a b/k2"))
    assert config.identity_agent == "/agent"
    assert config.connect_timeout_s == 7.0


def test_what_the_user_wrote_in_the_address_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_from_options(Address("pod", "me", 99), {"user": ["other"], "port": ["1"]})
    assert (config.user, config.port) == ("me", 99)
    assert config.known_hosts_name == "[pod]:99"
    assert config.bare_name == "pod"


def test_without_options_the_default_keys_are_tried() -> None:
    config = config_from_options(Address("pod"), {})
    assert config.port == 22
    assert config.identity_files
    assert all(default_identity(path) for path in config.identity_files)
    assert not default_identity(Path("/elsewhere/id_rsa"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("none", ""), ("SSH_AUTH_SOCK", "/env"), ("$OTHER", "/other"), ("/path/%r", "/path/root"), ("", "/env")],
)
def test_the_agent_is_the_configured_one(value: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/env")
    monkeypatch.setenv("OTHER", "/other")
    options = {"user": ["root"], **({"identityagent": [value]} if value else {})}
    assert config_from_options(Address("pod"), options).identity_agent == expected


def test_paths_with_spaces_survive() -> None:
    assert split_paths("/a /b c/d ~/e") == ["/a", "/b c/d", "~/e"]
    assert split_paths("none") == []


@pytest.fixture(params=["openssh", "paramiko"])
def configured(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An SSH configuration file that is read by `ssh -G`, or by paramiko where there is no ssh."""
    import shutil

    file = tmp_path / "ssh_config"
    monkeypatch.setenv("FINETUI_SSH_CONFIG", str(file))
    if request.param == "paramiko":
        monkeypatch.setenv("PATH", str(tmp_path))
    elif shutil.which("ssh") is None:
        pytest.skip("no ssh here")
    return file


def test_an_alias_is_looked_up_in_the_file(configured: Path) -> None:
    configured.write_text(
        "Host pod\n  HostName 10.0.0.7\n  Port 2200\n  User me\n  IdentityFile /k/%h\n  IdentityFile /k/2\n"
        "  ProxyJump hop:22\n  HostKeyAlias name\n  IdentitiesOnly yes\n"
    )
    config = effective_config(parse_address("pod"))
    assert (config.hostname, config.port, config.user) == ("10.0.0.7", 2200, "me")
    assert config.identity_files == (Path("/k/10.0.0.7"), Path("/k/2"))
    assert config.proxy_jump == (Address("hop", None, 22),)
    assert config.host_key_alias == "name"
    assert config.identities_only


def test_include_and_match_work_with_openssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    if shutil.which("ssh") is None:
        pytest.skip("no ssh here")
    (tmp_path / "more").write_text("Match host 10.*\n  Port 2201\n")
    file = tmp_path / "ssh_config"
    file.write_text(f"Include {tmp_path}/more\nHost pod\n  HostName 10.0.0.7\n")
    monkeypatch.setenv("FINETUI_SSH_CONFIG", str(file))
    assert effective_config(parse_address("10.0.0.7")).port == 2201


def test_a_broken_configuration_is_named(configured: Path) -> None:
    configured.write_text("Host pod\n  Match\n  Bogus\n")
    with pytest.raises(InvalidInput) as caught:
        effective_config(parse_address("pod"))
    assert str(configured) in str(caught.value)

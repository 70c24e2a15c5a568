"""Bringing the agent to a machine: any login shell, any state of the machine, and nothing twice."""

from __future__ import annotations

import getpass
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from remote_agent.places import Places
from tests.fakes.agent_processes import agentd_pids, end_agentd
from tests.fakes.proxy import FaultyProxy
from tests.fakes.sshd import Laptop, PrivateSshd
from tests.fakes.waiting import wait_for
from tui.errors import Unreachable
from tui.operations import targets
from tui.remote import remote_bootstrap, ssh
from tui.remote.agent_client import AgentClient
from tui.remote.bootstrap import build_agent
from tui.remote.remote_bootstrap import open_relay
from tui.remote.ssh_ask import nobody_to_ask

Start = Callable[..., PrivateSshd]
BUILD = build_agent()


@pytest.fixture
def start(tmp_path: Path, laptop: Laptop, places: Places) -> Iterator[Start]:
    """Start a pod with more options or another environment."""
    servers: list[PrivateSshd] = []

    def make(*options: str, env: dict[str, str] | None = None, user: str | None = None) -> PrivateSshd:
        server = PrivateSshd(
            tmp_path / f"pod{len(servers)}",
            options=options,
            env={**places.as_environment(), **(env or {})},
            user=user,
        )
        server.authorize(laptop.key)
        laptop.know(server)
        servers.append(server)
        return server.start()

    yield make
    for server in servers:
        server.stop()


def greet(server: PrivateSshd) -> tuple[str, bool]:
    """Connect once and return the agent's build and whether anything was uploaded."""
    machine = ssh.connect(server.address, nobody_to_ask())
    try:
        relay = open_relay(machine, BUILD)
        with AgentClient(relay.link, first_bytes=relay.first_bytes) as client:
            return client.greet().build, relay.uploaded
    finally:
        machine.close()


def refused(server: PrivateSshd) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        greet(server)
    assert caught.value.cause
    assert caught.value.remedy
    assert caught.value.exit_code == 3
    return caught.value


def test_the_first_connect_uploads_and_the_second_starts_and_uploads_nothing(
    sshd: PrivateSshd, places: Places
) -> None:
    assert greet(sshd) == (BUILD.name, True)
    folder = places.state / "agent" / BUILD.name
    assert sorted(path.name for path in folder.iterdir()) == ["agent.pyz", "python"]
    assert (folder / "agent.pyz").read_bytes() == BUILD.data
    assert stat.S_IMODE((folder / "agent.pyz").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (agent,) = agentd_pids(places)
    stamp = (folder / "agent.pyz").stat().st_mtime_ns
    assert greet(sshd) == (BUILD.name, False)
    assert agentd_pids(places) == [agent]
    assert (folder / "agent.pyz").stat().st_mtime_ns == stamp


def test_the_second_connect_is_a_single_command(sshd: PrivateSshd) -> None:
    greet(sshd)
    before = sshd.log.read_text().count("Starting session")
    greet(sshd)
    assert sshd.log.read_text().count("Starting session") == before + 1


def test_the_target_does_the_same(sshd: PrivateSshd, places: Places) -> None:
    with targets.connect(sshd.address) as client:
        assert client.hello.build == build_agent().name
        assert client.hello.state_dir == str(places.state)


SHELLS = {
    "fish": 'fish -c "$SSH_ORIGINAL_COMMAND"',
    "csh": 'csh -c "$SSH_ORIGINAL_COMMAND"',
    "dash": 'dash -c "$SSH_ORIGINAL_COMMAND"',
    "bash": 'bash -l -c "$SSH_ORIGINAL_COMMAND"',
    "zsh": 'zsh -c "$SSH_ORIGINAL_COMMAND"',
}


@pytest.mark.parametrize("shell", [name for name in SHELLS if shutil.which(name)])
def test_any_login_shell_will_do(start: Start, shell: str) -> None:
    server = start(f"ForceCommand {SHELLS[shell]}")
    assert greet(server) == (BUILD.name, True)
    assert greet(server) == (BUILD.name, False)


@pytest.mark.parametrize(
    "noise",
    [
        "echo welcome; echo oops >&2",
        "head -c 60000 /dev/urandom",
        r"printf 'no newline at the end'",
        "set -x",
    ],
)
def test_a_shell_that_prints_does_no_harm(start: Start, noise: str) -> None:
    server = start(f'ForceCommand {noise}; eval "$SSH_ORIGINAL_COMMAND"')
    assert greet(server) == (BUILD.name, True)
    assert greet(server) == (BUILD.name, False)


def test_a_shell_that_prints_without_end_is_given_up(start: Start) -> None:
    error = refused(start('ForceCommand yes; eval "$SSH_ORIGINAL_COMMAND"'))
    assert "prints too much" in error.message


def test_a_shell_that_exits_is_quoted(start: Start) -> None:
    error = refused(start("ForceCommand echo go away; exit 7"))
    assert "7" in error.cause
    assert "go away" in error.cause


def test_a_shell_that_hangs_is_given_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_bootstrap, "START_TIMEOUT_S", 0.5)
    assert "hung" in refused(start("ForceCommand sleep 60")).cause


def test_a_machine_without_python_names_what_is_there(start: Start, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "cat", "mkdir", "rm", "mv", "uname", "env"):
        (tools / name).symlink_to(str(shutil.which(name)))
    old = tools / "python3"
    old.write_text("#!/bin/sh\n[ $1 = -V ] && echo Python 3.6.9\nexit 1\n")
    old.chmod(0o755)
    # Absolute places are looked at too, so this works only where those have none.
    if any(Path(path).exists() for path in ("/opt/conda/bin/python3", "/usr/local/bin/python3")):
        pytest.skip("this machine has a Python in a place that is always looked at")
    error = refused(start(env={"PATH": str(tools)}))
    assert "no Python 3.10" in error.message
    assert "Python 3.6.9" in error.cause


def test_another_python_is_found_when_the_old_one_is_gone(
    sshd: PrivateSshd, places: Places, tmp_path: Path
) -> None:
    greet(sshd)
    recorded = places.state / "agent" / BUILD.name / "python"
    recorded.write_text(f"{tmp_path}/no-python\n")
    assert greet(sshd) == (BUILD.name, True)
    assert Path(recorded.read_text().strip()).exists()


def test_a_state_directory_that_cant_be_made_is_named(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    error = refused(start(env={"FINETUI_STATE_DIR": f"{tmp_path}/file/state"}))
    assert "can't write" in error.message
    assert f"{tmp_path}/file/state" in error.message
    assert "FINETUI_STATE_DIR" in error.remedy


@pytest.mark.skipif(os.getuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize(("options", "expected"), [("size=20k", "full"), ("ro", "can't write")])
def test_a_full_disk_and_a_read_only_home(start: Start, tmp_path: Path, options: str, expected: str) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", volume], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.decode()}")
    try:
        error = refused(start(env={"FINETUI_STATE_DIR": f"{volume}/state"}))
        assert expected in error.message
        assert [path for path in volume.rglob("*") if path.is_file()] == [], "something was left behind"
    finally:
        subprocess.run(["umount", volume], check=True)


@pytest.mark.parametrize(
    "name", ["it's here", 'quo"te', "back\\nslash", "$HOME", "a;b", "ünï", "new $(x) `y`"]
)
def test_odd_names_of_the_state_directory(start: Start, tmp_path: Path, name: str, places: Places) -> None:
    state = tmp_path / name
    # sshd_config itself has no way to write a quote; the shell that every command passes through does.
    script = tmp_path / "env.sh"
    script.write_text(f"FINETUI_STATE_DIR='{str(state).replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'\n")
    server = start(f'ForceCommand . {script}; export FINETUI_STATE_DIR; eval "$SSH_ORIGINAL_COMMAND"')
    try:
        assert greet(server) == (BUILD.name, True)
        assert (state / "agent" / BUILD.name / "agent.pyz").exists()
        assert greet(server) == (BUILD.name, False)
    finally:
        end_agentd(Places(state, places.runtime, places.environments))


def test_an_upload_that_is_cut_leaves_nothing_and_is_done_again(
    sshd: PrivateSshd, places: Places, laptop: Laptop
) -> None:
    with FaultyProxy(sshd.port) as proxy:
        laptop.know(sshd, port=proxy.port)
        machine = ssh.connect(f"{sshd.user}@127.0.0.1:{proxy.port}", nobody_to_ask())
        proxy.cut_after_up(len(BUILD.data) // 2)
        with pytest.raises(Unreachable):
            open_relay(machine, BUILD)
        machine.close()
    folder = places.state / "agent" / BUILD.name
    wait_for(lambda: folder.exists() and not list(folder.iterdir()), "the torn copy to be removed")
    assert greet(sshd) == (BUILD.name, True)


def test_many_clients_at_once_end_with_one_agent(sshd: PrivateSshd, places: Places) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: greet(sshd)[0], range(6)))
    assert found == [BUILD.name] * 6
    assert len(agentd_pids(places)) == 1


def test_a_hostile_machine_gets_an_error_not_a_crash(start: Start, tmp_path: Path) -> None:
    script = tmp_path / "hostile.sh"
    script.write_text(
        'read s; read m; echo "$m absent"; echo "$m end"; echo "$m python"; echo "$m state ../../x"\n'
    )
    refused(start(f"ForceCommand sh {script}"))
    script.write_text('read s; read m; printf "%s 1\\n\\377\\000{" "$m"; head -c 200000 /dev/zero\n')
    refused(start(f"ForceCommand sh {script}"))


@pytest.fixture
def other_user() -> Iterator[str]:
    """A user that is not root, with a home of its own."""
    if os.getuid() != 0:
        pytest.skip("only root can log in somebody else; the other tests run as a plain user then")
    name = f"finetui-{os.getpid()}"
    made = subprocess.run(
        ["useradd", "-m", "-p", "*", "-s", "/bin/bash", name], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"no user can be made here: {made.stderr.decode()}")
    yield name
    subprocess.run(["userdel", "-r", "-f", name], capture_output=True, check=False)


def test_a_user_who_is_not_root(start: Start, other_user: str) -> None:
    home = Path(f"~{other_user}").expanduser()
    state = home / "state"
    env = {"FINETUI_STATE_DIR": str(state), "FINETUI_RUNTIME_DIR": f"{home}/run", "HOME": str(home)}
    server = start(env=env, user=other_user)
    try:
        assert greet(server) == (BUILD.name, True)
        assert (state / "agent").owner() == other_user != getpass.getuser()
        assert greet(server) == (BUILD.name, False)
    finally:
        end_agentd(Places(state, home / "run", state / "environments"))

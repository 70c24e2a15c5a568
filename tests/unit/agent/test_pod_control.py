from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_agent import pod_control
from remote_agent.pod_control import PodControl, PodError
from tests.fakes.pod_api import KEY, POD, PodApi


@pytest.fixture
def api(tmp_path: Path) -> Iterator[PodApi]:
    server = PodApi(tmp_path)
    yield server
    server.close()


@pytest.fixture
def control(api: PodApi) -> PodControl:
    return PodControl.from_environment(api.variables())


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the front of PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_a_pod_may_ask_about_itself(api: PodApi, control: PodControl) -> None:
    assert control.check() == ""
    assert api.asked == [("GET", f"/v2/pods/{POD}", "")]


def test_the_key_shows_in_no_error_and_no_repr(api: PodApi, control: PodControl) -> None:
    api.answers = [409]
    with pytest.raises(PodError) as refused:
        control.act("stop")
    assert "409" in str(refused.value)
    assert "refused" in str(refused.value)
    assert KEY not in str(refused.value)
    assert KEY not in repr(control)


def test_a_wrong_key_is_said_before_it_is_needed(api: PodApi) -> None:
    assert "401" in PodControl(POD, "another", api.url).check()


def test_a_server_that_is_not_there_is_a_reason(control: PodControl) -> None:
    assert "can't be reached" in PodControl(POD, KEY, "http://127.0.0.1:1").check()


def runpodctl(folder: Path, script: str) -> None:
    program = folder / "runpodctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("action", "accepts"),
    [
        ("stop", f"pod stop {POD}"),
        ("stop", f"stop pod {POD}"),
        ("terminate", f"pod delete {POD}"),
        ("terminate", f"remove pod {POD}"),
    ],
)
def test_runpodctl_is_asked_when_the_api_fails_by_its_new_or_old_words(
    api: PodApi, control: PodControl, tools: Path, action: str, accepts: str
) -> None:
    runpodctl(tools, f'test "$*" = "{accepts}" && test "$RUNPOD_API_KEY" = {KEY} && touch {tools}/done')
    api.answers = [502]
    assert control.act(action) == "runpodctl"
    assert (tools / "done").exists()


def test_both_ways_that_fail_are_one_error(api: PodApi, control: PodControl, tools: Path) -> None:
    runpodctl(tools, "exit 1")
    api.answers = [502]
    with pytest.raises(PodError, match="runpodctl failed too"):
        control.act("stop")


def test_the_file_of_the_image_is_read_where_pid_1_is_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports = tmp_path / "rp_environment"
    exports.write_text(f'export RUNPOD_POD_ID="{POD}"\nexport BROKEN="\nexport RUNPOD_API_KEY="{KEY}"\n')
    monkeypatch.setattr(pod_control, "EXPORTS", exports)
    control = PodControl.from_environment({})
    assert (control.pod, control.key, control.api) == (POD, KEY, pod_control.API)


def test_a_machine_that_is_no_pod_says_so() -> None:
    assert "no RunPod pod" in PodControl("", "").check()
    with pytest.raises(PodError):
        PodControl("", "").act("stop")

"""Chat over a model server: pieces, figures, stopping, reuse, and whose key it is."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import pytest

from presets.spec import resolve
from tests.fakes.agent import ScriptedAgent
from tests.fakes.waiting import wait_for
from tui.errors import InvalidInput, RemoteError, Unreachable
from tui.operations import keys
from tui.operations.chat import ChatSession, Delta, ReplyStats, open_chat
from tui.operations.serve import Server
from tui.paths import keys_dir
from tui.remote.agent_client import AgentClient

RUN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
QUESTION = [{"role": "user", "content": "hi"}]


@pytest.fixture
def agent() -> Iterator[ScriptedAgent]:
    made = ScriptedAgent()
    made.add(RUN, "finished").spec = {"kind": "train", "config": resolve("demo").to_dict()}
    made.checkpoint(RUN, 80)
    made.checkpoint(RUN, 160)
    made.checkpoint(RUN, 200, complete=False)
    yield made
    made.close()


@pytest.fixture
def client(agent: ScriptedAgent) -> Iterator[AgentClient]:
    with agent.connect("local") as made:
        yield made


def launches(agent: ScriptedAgent) -> list[dict]:
    return [params for method, params in agent.requests if method == "run.launch"]


def test_a_reply_streams_and_ends_with_its_figures(agent: ScriptedAgent, client: AgentClient) -> None:
    session = open_chat(client, RUN)
    *pieces, stats = session.stream(QUESTION)
    assert [piece.text for piece in pieces if isinstance(piece, Delta)] == ["[SQL] ", "SELECT 1", " [/SQL]"]
    assert isinstance(stats, ReplyStats)
    assert stats.tokens == 3
    assert stats.ttft_s > 0
    assert session.reply(QUESTION).text == "[SQL] SELECT 1 [/SQL]"
    assert agent.model is not None
    assert agent.model.asked[0]["temperature"] == 0


def test_the_newest_complete_checkpoint_is_served_and_reused(
    agent: ScriptedAgent, client: AgentClient
) -> None:
    first, second = open_chat(client, RUN), open_chat(client, RUN, 160)
    assert first.server.checkpoint == f"{RUN}@160"
    assert second.server.run == first.server.run
    assert second.server.reused
    assert not first.server.reused
    assert len(launches(agent)) == 1


def test_the_base_is_another_server(agent: ScriptedAgent, client: AgentClient) -> None:
    assert open_chat(client, RUN, "base").server.checkpoint == f"{RUN}@base"
    (launch,) = launches(agent)
    assert launch["spec"]["parent"] == f"{RUN}@base"


def test_the_key_is_a_secret_and_kept_for_this_user_alone(agent: ScriptedAgent, client: AgentClient) -> None:
    session = open_chat(client, RUN)
    (launch,) = launches(agent)
    assert launch["secrets"] == {"API_KEY": session.server.key}
    assert session.server.key not in str(launch["spec"])
    path = keys_dir() / session.server.run
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_server_whose_key_is_not_ours_is_left_alone(agent: ScriptedAgent, client: AgentClient) -> None:
    agent.add("01ARZ3NDEKTSV4RRFFQ69G5FAX", kind="serve", parent=f"{RUN}@160", port=1)
    assert open_chat(client, RUN).server.run != "01ARZ3NDEKTSV4RRFFQ69G5FAX"


def test_a_step_that_is_not_there_is_told_with_those_that_are(client: AgentClient) -> None:
    with pytest.raises(InvalidInput, match="80, 160") as caught:
        open_chat(client, RUN, 81)
    assert "step 81" in caught.value.message


def test_a_server_that_fails_is_told_and_its_key_is_forgotten(
    agent: ScriptedAgent, client: AgentClient
) -> None:
    def fail(params: dict) -> dict:
        return {"run": params["run"], "state": "failed", "message": "out of memory"}

    agent.answers["run.launch"] = fail
    agent.answers["run.get"] = fail
    with pytest.raises(RemoteError, match="out of memory"):
        open_chat(client, RUN)
    assert list(keys_dir().iterdir()) == []


def test_closing_a_reply_stops_it_at_the_server(agent: ScriptedAgent, client: AgentClient) -> None:
    session = open_chat(client, RUN)
    assert agent.model is not None
    agent.model.gate.clear()
    reply = session.stream(QUESTION)
    assert next(reply) == Delta("[SQL] ")
    reply.close()
    agent.model.gate.set()
    assert session.reply(QUESTION).stats.tokens == 3


def test_a_wrong_key_is_refused(agent: ScriptedAgent, client: AgentClient) -> None:
    server = open_chat(client, RUN).server
    session = ChatSession(Server(server.run, server.checkpoint, server.url, "wrong", False))
    with pytest.raises(RemoteError, match="HTTP 401"):
        session.reply(QUESTION)


def test_a_server_that_went_away_is_told(agent: ScriptedAgent, client: AgentClient) -> None:
    session = open_chat(client, RUN)
    assert agent.model is not None
    agent.model.close()

    def refused() -> bool:
        try:
            session.reply(QUESTION)
        except Unreachable as error:
            return session.server.run in str(error)
        return False

    wait_for(refused, "the server to be gone")


def test_keys_are_forgotten() -> None:
    keys.keep(RUN, "secret")
    assert keys.find(RUN) == "secret"
    keys.forget(RUN)
    assert keys.find(RUN) is None
    assert keys.find("../x") is None


def test_ctrl_c_while_it_loads_leaves_no_server_and_no_key(agent: ScriptedAgent, client: AgentClient) -> None:
    def still_loading(params: dict) -> dict:
        return {"run": params["run"], "state": "starting"}

    def interrupt(status: object) -> None:
        raise KeyboardInterrupt

    agent.answers["run.launch"] = still_loading
    agent.answers["run.get"] = still_loading
    agent.answers["run.stop"] = still_loading
    with pytest.raises(KeyboardInterrupt):
        open_chat(client, RUN, on_status=interrupt)
    (launched,) = launches(agent)
    stops = [params for method, params in agent.requests if method == "run.stop"]
    assert [params["run"] for params in stops] == [launched["run"]]
    assert list(keys_dir().iterdir()) == []


def test_keys_of_ended_servers_are_dropped(agent: ScriptedAgent, client: AgentClient) -> None:
    first = open_chat(client, RUN).server.run
    agent.update(first, state="finished", port=None)
    second = open_chat(client, RUN).server.run
    assert [path.name for path in keys_dir().iterdir()] == [second]

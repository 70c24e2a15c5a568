from __future__ import annotations

import asyncio
import shutil

import pytest

from remote_agent import guard_config, moments
from remote_agent.agentd import Server, listen
from remote_agent.places import Places
from remote_agent.protocol import ENDED
from remote_agent.runs import lock_held
from tests.fakes.agent_runs import Runs, tree_spec
from tests.fakes.waiting import wait_for

LIMIT_S = 20.0


async def serve(places: Places, limit_s: float) -> None:
    server = Server(places, listen(places), idle_limit_s=0.05)
    await asyncio.wait_for(server.run(), limit_s)


def test_an_agent_with_nothing_to_do_leaves(places: Places) -> None:
    places.create()
    asyncio.run(serve(places, LIMIT_S))
    assert not places.socket.exists()


def test_it_stays_while_a_run_lives(runs: Runs) -> None:
    runs.launch("r1", tree_spec("--steps", "100000", "--step-s", "0.02"))
    runs.wait("r1", "running")
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(serve(runs.places, 1.0))
    assert runs.status("r1").state not in ENDED


def test_it_stays_while_somebody_is_connected(places: Places) -> None:
    places.create()

    async def scene() -> None:
        server = Server(places, listen(places), idle_limit_s=0.05)
        serving = asyncio.create_task(server.run())
        _, writer = await asyncio.open_unix_connection(str(places.socket))
        done, _ = await asyncio.wait([serving], timeout=0.5)
        assert not done
        writer.close()
        await asyncio.wait_for(serving, LIMIT_S)

    asyncio.run(scene())


def test_it_stays_while_a_guard_is_armed(places: Places) -> None:
    places.create()
    keep = {"idle_s": 600, "actions": {"idle": "keep"}}
    guard_config.store(places, guard_config.parse(keep, moments.now(), ""))
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(serve(places, 1.0))
    assert lock_held(places.guard_lock), "and has started its process"
    places.guard_config.unlink()
    asyncio.run(serve(places, LIMIT_S))
    wait_for(lambda: not lock_held(places.guard_lock), "the guard to end")


@pytest.mark.parametrize("what", ["socket", "folder", "replaced"])
def test_an_agent_that_nobody_can_find_any_more_leaves(places: Places, what: str) -> None:
    places.create()

    async def scene() -> None:
        server = Server(places, listen(places), reach_every_s=0.05)
        serving = asyncio.create_task(server.run())
        await asyncio.sleep(0)
        if what == "folder":
            shutil.rmtree(places.runtime)
        else:
            places.socket.unlink()
        if what == "replaced":
            places.socket.touch()
        await asyncio.wait_for(serving, LIMIT_S)

    asyncio.run(scene())
    assert places.socket.exists() == (what == "replaced"), "another's socket is left alone"

from __future__ import annotations

import pytest

from remote_agent.errors import AgentError
from remote_agent.guard_config import GuardConfig, parse
from remote_agent.guard_rules import Facts, plan, verdict, warning
from remote_agent.moments import Moment

ARMED = Moment(1000.0, "k", 1_790_000_000.0)
HOUR = 3600.0


def config(**params: object) -> GuardConfig:
    return parse(params, ARMED, "")


def test_nothing_set_plans_nothing() -> None:
    assert config().watches_nothing
    assert plan(config(), Facts(t=10 * HOUR, idle_since=0.0, ended=("r1", "finished", 5.0))) is None


def test_the_budget_counts_what_was_spent_before() -> None:
    guard = config(budget_usd=5.0, spent_usd=1.0, price_per_h=2.0)
    found = plan(guard, Facts(t=0.0))
    assert found is not None
    assert (found.trigger, found.action, found.due) == ("budget", "stop", 2 * HOUR)
    assert guard.spent_at(HOUR) == 3.0


def test_the_earliest_limit_counts() -> None:
    guard = config(deadline_in_s=4 * HOUR, budget_usd=100.0, price_per_h=1.0, idle_s=600.0)
    assert plan(guard, Facts(t=0.0)).trigger == "deadline"  # type: ignore[union-attr]
    idle = plan(guard, Facts(t=700.0, idle_since=100.0))
    assert idle is not None
    assert (idle.trigger, idle.due) == ("idle", 700.0)


@pytest.mark.parametrize(
    ("state", "attached", "action"),
    [
        ("finished", True, None),
        ("finished", False, "terminate"),
        ("failed", True, None),
        ("failed", False, "stop"),
    ],
)
def test_four_ways_to_end(state: str, attached: bool, action: str | None) -> None:
    guard = config(actions={"finished_detached": "terminate", "failed_detached": "stop"}, warn_s=120)
    found = plan(guard, Facts(t=50.0, ended=("r1", state, 40.0), attached=attached))
    assert (found.action if found else None) == action
    if found:
        assert found.due == 160.0


def test_a_user_who_leaves_after_the_end_starts_the_count_anew() -> None:
    guard = config(actions={"finished_detached": "terminate"}, warn_s=120)
    found = plan(guard, Facts(t=9000.0, ended=("r1", "finished", 40.0), detached_since=8990.0))
    assert found is not None
    assert found.due == 9110.0


def test_a_run_that_lives_keeps_the_pod() -> None:
    guard = config(actions={"finished_detached": "terminate"})
    assert plan(guard, Facts(t=500.0, ended=("r1", "finished", 40.0), live=("r2",))) is None


def test_extend_puts_every_action_off() -> None:
    guard = config(deadline_in_s=100.0, idle_s=10.0).extended(5000.0)
    assert plan(guard, Facts(t=90.0, idle_since=0.0)).due == 5000.0  # type: ignore[union-attr]
    assert guard.extended(10.0).not_before_s == 5000.0


@pytest.mark.parametrize(
    ("settings", "facts", "action", "done"),
    [
        ({}, {}, "terminate", "terminate"),
        ({}, {"unsafe": ("r1",)}, "terminate", ""),
        ({}, {"unsafe": ("r1",)}, "stop", ""),
        ({}, {"unsafe": ("r1",), "survives_stop": True}, "terminate", "stop"),
        ({}, {"unsafe": ("r1",), "survives_stop": True}, "stop", "stop"),
        ({"network_volume": True}, {"unsafe": ("r1",)}, "terminate", "terminate"),
        ({"may_be_lost": True}, {"unsafe": ("r1",)}, "terminate", "terminate"),
    ],
)
def test_results_come_first(
    settings: dict[str, object], facts: dict[str, object], action: str, done: str
) -> None:
    found = verdict(config(**settings), Facts(t=0.0, **facts), action)  # type: ignore[arg-type]
    assert found.action == done
    assert ("r1" in found.why_not) == (done != action)


def test_a_warning_says_why_what_and_when() -> None:
    found = plan(config(deadline_in_s=2 * HOUR), Facts(t=0.0))
    assert found is not None
    text = warning(found, 2 * HOUR - 300)
    assert text == "the deadline of 2.0 h: this pod will be stopped in 5 min unless you extend it"


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"idle_s": -1}, "idle_s"),
        ({"idle_s": float("nan")}, "idle_s"),
        ({"deadline_in_s": "soon"}, "deadline_in_s"),
        ({"budget_usd": 5}, "price_per_h"),
        ({"actions": {"idle": "explode"}}, "actions.idle"),
        ({"actions": {"sneeze": "stop"}}, "actions.sneeze"),
        ({"actions": ["stop"]}, "actions"),
        ({"min_free_bytes": 1.5}, "min_free_bytes"),
    ],
)
def test_what_is_wrong_is_named(params: dict[str, object], named: str) -> None:
    with pytest.raises(AgentError, match="guard") as refused:
        config(**params)
    assert named in refused.value.message


def test_a_step_of_the_wall_clock_moves_nothing_within_one_boot() -> None:
    assert Moment(1500.0, "k", ARMED.wall + 86_400).since(ARMED) == 500.0
    assert Moment(5.0, "another kernel", ARMED.wall + 60).since(ARMED) == 60.0

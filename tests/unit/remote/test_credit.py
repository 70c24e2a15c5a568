"""The credit of a stream: short queues on slow links, full speed on long ones."""

from __future__ import annotations

from remote_agent.protocol import CREDIT_BYTES
from tui.remote.credit import MAX_CREDIT_BYTES, Credit


def stream(rate_bytes_s: float, round_trip_s: float, total: int) -> Credit:
    """Play a stream over a link of that rate: it never runs faster than credit per round trip."""
    now = 0.0
    credit = Credit(0, lambda: round_trip_s, lambda: now)
    offset = 0
    while offset < total:
        offset += 32 * 1024
        now += 32 * 1024 / min(rate_bytes_s, credit.bytes / round_trip_s)
        credit.consumed(offset)
    return credit


def test_a_slow_link_keeps_its_short_queue() -> None:
    assert stream(2_000_000, 0.06, 20_000_000).bytes == CREDIT_BYTES


def test_a_fast_far_link_gets_all_that_is_allowed() -> None:
    assert stream(1e9, 0.06, 50_000_000).bytes == MAX_CREDIT_BYTES


def test_a_near_and_fast_machine_gets_it_too() -> None:
    assert stream(2e8, 0.0003, 50_000_000).bytes == MAX_CREDIT_BYTES
    assert stream(2_000_000, 0.0003, 20_000_000).bytes == CREDIT_BYTES


def test_the_queue_is_never_longer_than_two_and_a_half_round_trips() -> None:
    for rate in (1e6, 3e6, 5e6, 8e6, 12e6, 20e6, 30e6):
        credit = stream(rate, 0.06, 100_000_000)
        assert credit.bytes / rate < 2.5 * 0.06 or credit.bytes == CREDIT_BYTES


def test_acks_come_four_to_a_credit_and_start_anew_with_a_new_file() -> None:
    credit = Credit(1000, lambda: 0.001, lambda: 0.0)
    quarter = CREDIT_BYTES // 4
    assert not credit.consumed(1000 + quarter - 1)
    assert credit.consumed(1000 + quarter)
    assert not credit.consumed(1000 + quarter + 1)
    assert not credit.consumed(10)
    assert credit.consumed(10 + quarter)

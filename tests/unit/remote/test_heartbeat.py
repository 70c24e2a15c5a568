"""When a silent peer is asked, when it is given up, and that a laptop's sleep is not the peer's fault."""

from __future__ import annotations

from tui.remote.heartbeat import Heartbeat


class Clocks:
    def __init__(self) -> None:
        self.now = 100.0
        self.wall = 5000.0

    def pass_s(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


def heartbeat() -> tuple[Heartbeat, Clocks]:
    clocks = Clocks()
    return Heartbeat(lambda: clocks.now, lambda: clocks.wall), clocks


def verdicts(beat: Heartbeat, clocks: Clocks, seconds: int) -> list[str]:
    found = []
    for _ in range(seconds):
        clocks.pass_s(1)
        found.append(beat.tick())
    return found


def test_silence_is_asked_after_5_s_and_given_up_after_15() -> None:
    beat, clocks = heartbeat()
    said = verdicts(beat, clocks, 15)
    assert [second for second, word in enumerate(said, 1) if word == "ping"] == [5, 10]
    assert said[-1] == "dead"
    assert "dead" not in said[:-1]


def test_any_byte_counts_as_a_sign_of_life() -> None:
    beat, clocks = heartbeat()
    for _ in range(10):
        assert verdicts(beat, clocks, 4) == ["quiet"] * 4
        beat.heard()


def test_after_a_sleep_the_peer_has_3_s_to_answer() -> None:
    beat, clocks = heartbeat()
    clocks.wall += 600  # the monotonic clock stands still while a laptop sleeps
    clocks.pass_s(1)
    assert beat.tick() == "ping"
    assert verdicts(beat, clocks, 3) == ["quiet", "quiet", "dead"]


def test_a_process_that_was_frozen_asks_before_it_gives_up() -> None:
    beat, clocks = heartbeat()
    clocks.pass_s(60)
    assert beat.tick() == "ping"
    beat.heard()
    assert verdicts(beat, clocks, 4) == ["quiet"] * 4


def test_time_spent_consuming_is_not_the_peer_s_silence() -> None:
    beat, clocks = heartbeat()
    beat.busy = True
    assert verdicts(beat, clocks, 40) == ["quiet"] * 40
    beat.busy = False
    assert verdicts(beat, clocks, 5)[-1] == "ping"


def test_a_clock_set_back_is_no_sleep() -> None:
    beat, clocks = heartbeat()
    clocks.wall -= 86400
    assert verdicts(beat, clocks, 4) == ["quiet"] * 4

"""Which rank's log the run screen shows, kept up to date while it does."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tui.screens.board import KnownRun
from tui.state.spool import LogSpool

if TYPE_CHECKING:
    from tui.operations.rank_logs import RankLog
    from tui.screens.run import RunScreen


class RankLogs:
    """Goes round: the run's own log, then each rank's streams."""

    def __init__(self, screen: RunScreen) -> None:
        self._screen = screen
        self._known: KnownRun | None = None
        self._shown: RankLog | None = None
        self._spool: LogSpool | None = None
        self._busy = False

    def next(self, known: KnownRun) -> None:
        """Show the next one."""
        self._known = known
        backend = self._screen.context.backend
        self._screen.in_background(
            "list the logs of the ranks", partial(backend.rank_logs, known.target, known.run), self._choose
        )

    def follow(self) -> None:
        """Bring what is shown up to date; call it now and then."""
        known = self._known
        if self._shown is None or known is None or self._busy or self._screen.context.board.stale(known):
            return
        self._busy = True
        backend = self._screen.context.backend
        self._screen.in_background(
            "read the log of a rank",
            partial(backend.copy_rank_log, known.target, known.run, self._shown, self._spool),
            partial(self._copied, self._shown),
            self._failed,
        )

    def _choose(self, logs: list[RankLog]) -> None:
        if not logs:
            self._screen.notify("This run's launcher keeps no log of each rank; torchrun does")
            return
        round_trip = [None, *logs]
        at = round_trip.index(self._shown) if self._shown in round_trip else 0
        self._shown = round_trip[(at + 1) % len(round_trip)]
        self._spool = None
        if self._shown is None:
            self._screen.show_log(None)
        else:
            self.follow()

    def _copied(self, log: RankLog, spool: LogSpool) -> None:
        self._busy = False
        if log != self._shown:
            spool.close()
        elif self._spool is None:
            self._spool = spool
            self._screen.show_log(spool, log.name)
        else:
            self._screen.log_grew()

    def _failed(self, error: BaseException) -> None:
        self._busy = False
        self._screen.notify(str(error), severity="warning")

"""What looked wrong with a run since its screen was opened: its log read as it grows, the rest asked."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from tui.screens.wording import one_line
from tui.state.anomalies import Finding, log_findings
from tui.state.spool import LogSpool

#: Of a log that is there already only the end is read.
TAIL_BYTES = 256 * 1024
#: Blocks of 256 KB that are read at once: about 1 ms each; the rest of a flood comes at the next look.
BLOCKS_AT_ONCE = 4


class Findings:
    """Remembers where the log was read to, and everything that was found."""

    def __init__(self) -> None:
        self.in_log: list[Finding] = []
        self._seen: dict[tuple[str, int | None, bool], Finding] = {}
        self._offset: int | None = None
        self._generation = 0

    def read(self, spool: LogSpool, step: int | None) -> None:
        """Look at the whole lines that came since; ``step`` is the newest one."""
        if spool.generation != self._generation:
            self._generation, self._offset = spool.generation, 0
            self.in_log.clear()
        if self._offset is None:
            self._offset = max(0, spool.size - TAIL_BYTES)
        elif self._offset >= spool.size:
            return
        first = spool.line_at(self._offset)
        for _, (line, count, text) in zip(
            range(BLOCKS_AT_ONCE), spool.blocks(first, spool.whole), strict=False
        ):
            self._offset = spool.offset_of(line + count)
            known = {finding.kind for finding in self.in_log}
            self.in_log += [found for found in log_findings(text, step) if found.kind not in known]

    def resumed(self) -> None:
        """Forget what the log said: another attempt began."""
        self.in_log.clear()

    def note(self, found: Iterable[Finding]) -> None:
        """Remember findings that may pass, at the step where they were."""
        for finding in found:
            self._seen[(finding.kind, finding.step, bool(finding.quote))] = finding

    def listed(self) -> str:
        """Return everything that was found, each with what to do; the newest first."""
        parts = []
        for finding in reversed(self._seen.values()):
            parts.append(f"{finding.text}\n  {finding.remedy}")
            if finding.quote:
                parts[-1] += f"\n  log: {one_line(finding.quote)}"
        return "\n\n".join(parts)


def lines_of(found: list[Finding], most: int) -> list[Content]:
    """Return findings as at most ``most`` lines; the last one says how many there is no room for."""
    shown = found if len(found) <= most else found[: most - 1]
    lines = [
        Content.styled(f"! {one_line(item.sentence)}", "bold $error" if item.grave else "$warning")
        for item in shown
    ]
    if len(shown) < len(found):
        lines.append(Content.styled(f"! {len(found) - len(shown)} more: a lists them", "$warning"))
    return lines

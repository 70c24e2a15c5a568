"""What part of x a chart shows: all of it, a window that follows the newest sample, or a fixed one."""

from __future__ import annotations


class Window:
    """Zoom and pan state over an extent (first x, last x) that grows while it is looked at."""

    def __init__(self) -> None:
        self._width: float | None = None
        self._end: float | None = None

    @property
    def zoomed(self) -> bool:
        """True when less than everything is shown."""
        return self._width is not None

    @property
    def following(self) -> bool:
        """True when the right edge is the newest sample."""
        return self._end is None

    def reset(self) -> None:
        """Show everything and follow."""
        self._width = self._end = None

    def range(self, extent: tuple[float, float]) -> tuple[float, float] | None:
        """Return the visible range of x, None for all of it."""
        if self._width is None:
            return None
        end = extent[1] if self._end is None else self._end
        return end - self._width, end

    def set(self, width: float, end: float, extent: tuple[float, float]) -> None:
        """Show [end - width, end], kept inside the extent; at its end it follows again."""
        first, last = extent
        width = max(width, (last - first) * 1e-6)
        if width >= last - first:
            self.reset()
            return
        self._width = width
        self._end = None if end >= last else max(end, first + width)

    def zoom(
        self, factor: float, about: float, shown: tuple[float, float], extent: tuple[float, float]
    ) -> None:
        """Show ``factor`` times the width of ``shown``; ``about`` stays where it is."""
        width = (shown[1] - shown[0]) * factor
        part = (shown[1] - about) / (shown[1] - shown[0])
        self.set(width, about + part * width, extent)

    def pan(self, distance: float, shown: tuple[float, float], extent: tuple[float, float]) -> None:
        """Move by ``distance`` in x."""
        self.set(shown[1] - shown[0], shown[1] + distance, extent)

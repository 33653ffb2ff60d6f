"""When sound is heard: the time line that a player shows, of which a file's packets may leave parts out."""

from typing import Any

_GAP = 0.1  # seconds: FFmpeg's own measure (aresample's min_hard_comp) of what is no more than inexact times
_BACK = 10.0  # seconds that times may jump back; further, they begin anew, as in files that were joined
_MOST = 24 * 3600.0  # seconds that all holes of a file have together: what says more is damaged


class Clock:
    """Where the next sound of a track lies, in seconds from the beginning of what the file shows.

    ``now`` is where the last one ended.
    """

    def __init__(self, container: Any) -> None:
        self.now = 0.0
        self._left = _MOST
        start = container.start_time  # in microseconds: of the track that begins first
        self._shift: float | None = None if start is None else -start / 1e6

    def jump(self, time: float | None, cut: bool = False) -> bool:
        """Whether what begins at the file's `time` does not follow the last; `now` is then where it does.

        Args:
            time: seconds; None: the file does not say.
            cut: something between them is left out on purpose, so that even small differences count.
        """
        if time is None:
            return False
        if self._shift is None:
            self._shift = -time
        ahead = time + self._shift - self.now
        if not -_BACK <= ahead <= self._left:
            self._shift -= ahead
            return False
        if ahead <= _GAP and not cut:
            return False
        self.now += ahead
        self._left -= max(ahead, 0.0)
        return True

    def advance(self, seconds: float) -> None:
        """Sound of this length was heard."""
        self.now += seconds

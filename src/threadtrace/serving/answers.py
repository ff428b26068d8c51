"""Answers that are made once for all who ask at about the same time."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

from threadtrace.serving.replies import Reply, busy

_MAX_KEPT = 64

# An answer is given again within this time, and within ten times the time that it took to make:
# so those who ask the same have a tenth of the processor at the most.
_FRESH_SECONDS = 0.25
_SHARE = 0.1

# Without a tick in between, nothing new can be told but what changes by itself.
_UNCHANGED_SECONDS = 1.0

# Those who ask for one thing after the other have as much, and half a second in advance.
_MOST_CREDIT_SECONDS = 0.5


class _Kept(NamedTuple):
    reply: Reply
    made_seconds: float
    fresh_until: float


class Answers:
    """Makes them, and gives them again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """None yet.

        Args:
            clock: monotonic, in seconds.
        """
        self._clock = clock
        self._kept: dict[Hashable, _Kept] = {}
        self._ticked_seconds = 0.0
        self._credit_seconds = _MOST_CREDIT_SECONDS
        self._credited_seconds = clock()

    def tick(self) -> None:
        """There is something new. What is not fresh is forgotten: it may be large."""
        self._ticked_seconds = self._clock()
        self._kept = {
            key: kept for key, kept in self._kept.items() if self._ticked_seconds < kept.fresh_until
        }

    def get(self, key: Hashable, make: Callable[[], Reply], is_one_of_many: bool = False) -> Reply:
        """The answer to what many ask.

        Args:
            key: what is asked.
            make: makes the answer; what it raises is not kept.
            is_one_of_many: whether others like this one can be asked, without end.

        Raises:
            Refused: too many of those were asked.
        """
        now = self._clock()
        kept = self._kept.get(key)
        if kept is not None and self._is_good(kept, now):
            return kept.reply
        if is_one_of_many and self._credit(now) <= 0:
            raise busy("too many questions at once: ask again in a second", 429)
        reply = make()
        done = self._clock()
        if is_one_of_many:
            self._credit_seconds -= done - now
        fresh_until = done + max(_FRESH_SECONDS, (done - now) / _SHARE)
        if len(self._kept) >= _MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept.pop(key, None)
        self._kept[key] = _Kept(reply, done, fresh_until)
        return reply

    def _is_good(self, kept: _Kept, now: float) -> bool:
        if now < kept.fresh_until:
            return True
        is_unchanged = self._ticked_seconds < kept.made_seconds
        return is_unchanged and now < kept.made_seconds + _UNCHANGED_SECONDS

    def _credit(self, now: float) -> float:
        earned = (now - self._credited_seconds) * _SHARE
        self._credited_seconds = now
        self._credit_seconds = min(_MOST_CREDIT_SECONDS, self._credit_seconds + earned)
        return self._credit_seconds

"""Which workloads explode: follows those that grow, and tells of each episode.

The decision itself is ``detect/``; here it is fed, at every tick and, where the kernel tells of
many births at once, in between.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from threadtrace.clock import NANOSECONDS, Clock
from threadtrace.describing import Describer
from threadtrace.detect.rules import is_storm
from threadtrace.detect.thresholds import Thresholds
from threadtrace.detect.track import NOTABLE_TASKS, Observation, Track
from threadtrace.followed import Followed
from threadtrace.forecasting import Forecasts
from threadtrace.identity.workloads import KERNEL, Workload
from threadtrace.model.accounts import Account, Accounts
from threadtrace.model.explosion import (
    End,
    Explosion,
    Forecast,
    State,
    Transition,
)
from threadtrace.model.snapshot import Totals
from threadtrace.node.cgroups import CgroupTree
from threadtrace.presence import Presence
from threadtrace.probe.records import BurstRecord, RefusalRecord
from threadtrace.probe.source import CounterSource

ThresholdsOf = Callable[[Workload], Thresholds | None]
"""Those of a workload; None where it is not to be watched."""

# Where many are born at once: how often and how long is looked, and at how many workloads. A look
# takes 0.1 ms; the kernel tells again each second while births go on.
_LOOK_NS = 10_000_000
_LOOKED_NS = 600_000_000
_MAX_SUSPECTS = 64

# A record that waited for so long, since the agent was stopped, tells of the past.
_STALE_NS = 500_000_000

# How long a low number of tasks is remembered before anything is followed.
_MARK_SECONDS = 300.0

# Workloads that are followed at a time, each some 10 KB, and 60 microseconds a tick where anything
# happens in it. Of more, those that gained most.
_MAX_TRACKS = 1_024

# An interval so much longer than the one before is a gap: the agent was stopped, or starved.
_GAP_INTERVALS = 3
_GAP_SECONDS = 2.0


class Explosions:
    """All workloads that grow.

    What grows: one track for each workload that has gained 16 tasks within five minutes, up to
    1,024; dropped when it has given them back, or with the workload.
    """

    def __init__(
        self,
        accounts: Accounts,
        tree: CgroupTree,
        presence: Presence,
        forecasts: Forecasts,
        describer: Describer,
        source: CounterSource,
        clock: Clock,
        thresholds_of: ThresholdsOf,
    ) -> None:
        """Begin with nothing that grows.

        Args:
            accounts: workloads and what they hold.
            tree: whose root stands for the node.
            presence: reads present numbers between two ticks.
            forecasts: how long is left.
            describer: who creates and who suffers.
            source: counters between two ticks.
            clock: monotonic time of looks.
            thresholds_of: from when on growth of a workload is an explosion.
        """
        self._accounts = accounts
        self._tree = tree
        self._presence = presence
        self._forecasts = forecasts
        self._describer = describer
        self._source = source
        self._clock = clock
        self._thresholds_of = thresholds_of
        self._followed: dict[Account, Followed] = {}
        self._suspects: dict[Account, int] = {}
        self._look_due_ns = 0
        self._episodes = 0
        self._unfollowed = 0
        self._last_interval = 0.0
        self._is_baseline = True

    @property
    def look_due_ns(self) -> int | None:
        """When to look between two ticks, monotonic; None when nothing is suspected."""
        return self._look_due_ns if self._suspects else None

    def take_unfollowed(self) -> int:
        """How often, since the last call, a growing workload found no room to be followed."""
        count, self._unfollowed = self._unfollowed, 0
        return count

    def under_way(self) -> list[Explosion]:
        """All episodes that are not over, as they stand."""
        return [
            self._explosion(
                account,
                followed,
                Transition.UPDATED,
                self._accounts.born(account, self._source.read_cgroup),
                account.forecast,
            )
            for account, followed in self._followed.items()
            if followed.track.is_called
        ]

    def note_burst(self, record: BurstRecord) -> None:
        """Many were born at once in a cgroup: look there until it is clear what it is."""
        now_ns = self._clock.monotonic_ns()
        account = self._accounts.account_of_cgroup(record.cgroup_id)
        if account is None or now_ns - record.timestamp_ns > _STALE_NS:
            return
        born = self._accounts.born(account, self._accounts.last_counts)
        followed = self._follow(account, record.window_ns / NANOSECONDS, account.tasks, born)
        if followed is None or followed.track.is_called:
            return
        followed.creator = record.tgid
        if account not in self._suspects:
            if len(self._suspects) >= _MAX_SUSPECTS:
                return  # the tick will see it
            if not self._suspects:
                self._look_due_ns = now_ns
        self._suspects[account] = now_ns + _LOOKED_NS

    def note_refusal(self, record: RefusalRecord) -> None:
        """A limit refused a workload: if it holds that limit itself, it is exhausted."""
        if record.key.error != errno.EAGAIN:
            return
        account = self._accounts.account_of_cgroup(record.key.cgroup_id)
        followed = self._followed.get(account) if account is not None else None
        if account is not None and followed is not None:
            followed.was_refused = True
            if not followed.track.is_called and len(self._suspects) < _MAX_SUSPECTS:
                self._look_due_ns = now_ns = self._clock.monotonic_ns()
                self._suspects[account] = now_ns + _LOOKED_NS

    def look(self) -> list[Explosion]:
        """Look at what is suspected."""
        now_ns = self._clock.monotonic_ns()
        self._look_due_ns = now_ns + _LOOK_NS
        self._presence.look_at(self._suspects)
        told: list[Explosion] = []
        for account, until_ns in list(self._suspects.items()):
            followed = self._followed.get(account)
            if followed is not None:
                counts = self._accounts.born(account, self._source.read_cgroup)
                followed.take_rates(counts, now_ns / NANOSECONDS)
                told += self._observe(account, followed, counts, now_ns / NANOSECONDS)
            if followed is None or followed.track.is_called or now_ns > until_ns:
                del self._suspects[account]
        return told

    def follow(self, interval_seconds: float, is_last: bool) -> list[Explosion]:
        """Take in a tick, after its counts and present numbers.

        Args:
            interval_seconds: since the tick before.
            is_last: no tick will follow.
        """
        time_s = self._clock.seconds()
        is_gap = interval_seconds > _GAP_INTERVALS * self._last_interval + _GAP_SECONDS
        self._mark(time_s, interval_seconds)
        if is_gap:
            self._forget_gap(time_s)
        self._last_interval = interval_seconds
        told: list[Explosion] = []
        for account, followed in list(self._followed.items()):
            if not account.cgroup_ids:
                told += self._end(account, followed, End.GONE)
                continue
            is_due = is_last or account.is_active or followed.is_due(account.tasks, time_s)
            if not is_due or not self._renew_thresholds(account, followed):
                continue
            counts = self._accounts.born(account, self._accounts.last_counts)
            refused = account.interval_refused.get(errno.EAGAIN, 0)
            followed.refused += refused
            followed.was_refused |= refused > 0
            followed.has_news |= self._accounts.counted().refused > 0
            followed.take_rates(counts, time_s)
            followed.track.stand_still_until(time_s - interval_seconds)
            followed.creator = None  # the tick has counted by process
            told += self._observe(account, followed, counts, time_s)
            if account not in self._followed:
                continue
            if is_last:
                told += self._end(account, followed, End.AGENT_STOPPED)
            elif followed.track.is_done:
                self._drop_quiet(account, followed)
        return told

    def _mark(self, time_s: float, interval_seconds: float) -> None:
        """Begin to follow what has gained enough, was refused, or is born and gone at a storm."""
        for account in self._presence.changed:
            self._mark_lowest(account, time_s, interval_seconds)
            if account.tasks - account.mark >= NOTABLE_TASKS:
                self._follow(account, account.mark_s, account.mark, account.mark_born)
        self._is_baseline = False
        for account in self._accounts.active:
            threads, processes, exited, _ = account.interval
            if errno.EAGAIN in account.interval_refused:
                since_s = account.mark_s or time_s
                self._follow(account, since_s, account.mark, account.mark_born)
            elif exited > NOTABLE_TASKS and interval_seconds > 0:
                created = (threads + processes) / interval_seconds
                thresholds = self._thresholds_of(account.workload)
                if thresholds and is_storm(created, exited / interval_seconds, thresholds):
                    since_s = time_s - interval_seconds
                    self._follow(account, since_s, account.tasks, self._born_before(account))

    def _mark_lowest(self, account: Account, time_s: float, interval_seconds: float) -> None:
        if account.tasks <= account.mark or self._is_baseline:
            account.mark, account.mark_s = account.tasks, time_s
            account.mark_born = self._accounts.born(account, self._accounts.last_counts)
        elif not account.mark_s or _was_at_mark(account):  # what is new had none
            account.mark_s = time_s - interval_seconds
            account.mark_born = self._born_before(account)
        elif time_s - account.mark_s > _MARK_SECONDS:
            before = account.tasks if account.tasks_before is None else account.tasks_before
            account.mark = min(before, account.tasks)
            account.mark_s = time_s - interval_seconds
            account.mark_born = self._born_before(account)

    def _born_before(self, account: Account) -> Totals:
        """Births and exits until the tick before this one."""
        born = self._accounts.born(account, self._accounts.last_counts)
        return Totals(*(a - b for a, b in zip(born[:3], account.interval)))

    def _follow(
        self, account: Account, since_s: float, tasks: int, born: Totals
    ) -> Followed | None:
        """Start a track; None where there is to be none.

        Args:
            account: to follow.
            since_s: when it held so few.
            tasks: the lowest number known.
            born: its births and exits until then.
        """
        followed = self._followed.get(account)
        if followed is not None or account.workload is KERNEL:
            return followed
        thresholds = self._thresholds_of(account.workload)
        if thresholds is None or not self._make_room(account.tasks - tasks):
            return None
        now_s = self._clock.seconds()
        counted = self._accounts.born(account, self._accounts.last_counts)
        track = Track(min(since_s, now_s), max(0, tasks), thresholds)
        followed = self._followed[account] = Followed(track, born, counted, now_s)
        return followed

    def _renew_thresholds(self, account: Account, followed: Followed) -> bool:
        """They go by names, which may come after the growth; whether it is still to be followed."""
        thresholds = self._thresholds_of(account.workload)
        if thresholds is not None:
            followed.track.thresholds = thresholds
        elif not followed.track.is_called:
            self._drop(account)
            return False
        return True

    def _make_room(self, gained: int) -> bool:
        if len(self._followed) < _MAX_TRACKS:
            return True
        self._unfollowed += 1
        quiet = [entry for entry in self._followed.items() if not entry[1].track.is_called]
        least = min(quiet, key=lambda entry: entry[1].track.gained, default=None)
        if least is None or least[1].track.gained >= gained:
            return False
        self._drop(least[0])
        return True

    def _forget_gap(self, time_s: float) -> None:
        self._forecasts.forget_gap()
        self._suspects.clear()
        for account, followed in list(self._followed.items()):
            followed.track.forget_gap(time_s, account.tasks)
            followed.was_refused = False

    def _observe(
        self, account: Account, followed: Followed, counts: Totals, time_s: float
    ) -> Iterator[Explosion]:
        track = followed.track
        forecast = None
        if track.is_called or account.tasks - track.trend.lowest().value >= NOTABLE_TASKS // 2:
            since_s = track.trend.lowest().time_s
            forecast = self._forecasts.forecast(account, time_s, since_s)
        created, exited = followed.rates[0] + followed.rates[1], followed.rates[2]
        ratio = followed.process_ratio(counts)
        transition = track.observe(
            Observation(
                time_s, account.tasks, created, exited, ratio, followed.was_refused, forecast
            )
        )
        followed.was_refused = False
        self._show(account, track, forecast)
        if transition is Transition.STARTED:
            self._episodes += 1
            followed.number = self._episodes
        if transition is Transition.ENDED:
            yield from self._end(account, followed, track.ended or End.FELL_BACK)
        elif transition is not None and followed.is_news(transition, time_s):
            followed.note_told(time_s)
            yield self._explosion(account, followed, transition, counts, forecast)

    def _show(self, account: Account, track: Track, forecast: Forecast | None) -> None:
        """Let the next snapshot tell of it."""
        state = None if track.state is State.QUIET else track.state
        shown = forecast if state and forecast and forecast.seconds is not None else None
        if (account.state, account.forecast) != (state, shown):
            account.state, account.forecast, account.is_stale = state, shown, True

    def _end(self, account: Account, followed: Followed, why: End) -> Iterator[Explosion]:
        track = followed.track
        was_called = followed.number > 0
        track.end(why)
        self._drop(account)
        if was_called:
            counts = self._accounts.born(account, self._accounts.last_counts)
            yield self._explosion(account, followed, Transition.ENDED, counts, None)

    def _drop_quiet(self, account: Account, followed: Followed) -> None:
        """What has given back what it gained; a storm that may come is waited for."""
        thresholds = followed.track.thresholds
        if not is_storm(followed.rates[0] + followed.rates[1], followed.rates[2], thresholds):
            self._drop(account)

    def _drop(self, account: Account) -> None:
        del self._followed[account]
        self._suspects.pop(account, None)
        if account.state is not None or account.forecast is not None:
            account.state, account.forecast, account.is_stale = None, None, True
        account.mark, account.mark_s = account.tasks, self._clock.seconds()

    def _explosion(
        self,
        account: Account,
        followed: Followed,
        transition: Transition,
        counts: Totals,
        forecast: Forecast | None,
    ) -> Explosion:
        return self._describer.explosion(
            account,
            followed,
            transition,
            counts,
            forecast,
            self._forecasts.bindings(account),
            self._tree.root.tasks,
        )


def _was_at_mark(account: Account) -> bool:
    """Whether it held as few as ever until the tick before: an hour, maybe, without a change."""
    return account.tasks_before is not None and account.tasks_before <= account.mark

"""Options that several commands share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from threadtrace.probe.plan import RefusalHook

if TYPE_CHECKING:
    from threadtrace.agent import AgentOptions

_MAX_CGROUPS_LIMIT = 1 << 20


class Seconds(click.FloatRange):
    """A length of time. click itself takes NaN for a number of any range, and infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """See click.

        Raises:
            click.BadParameter: no number, none that is finite, or out of range.
        """
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no length of time.", param, ctx)
        return number


interval_option = click.option(
    "--interval",
    "interval_seconds",
    metavar="SECONDS",
    type=Seconds(min=0.05, max=86400),
    default=1.0,
    show_default=True,
    help="Time between two samples.",
)
max_cgroups_option = click.option(
    "--max-cgroups",
    metavar="N",
    type=click.IntRange(min=1, max=_MAX_CGROUPS_LIMIT),
    default=16384,
    show_default=True,
    help="Room for that many cgroups at a time (64 bytes and 32 more a CPU for each). What finds "
    "none is counted and reported as a loss.",
)
host_root_option = click.option(
    "--host-root",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="/",
    show_default=True,
    envvar="THREADTRACE_HOST_ROOT",
    show_envvar=True,
    help="Where the node's root directory is mounted: names of containers are read below it.",
)


def _as_refusal_hook(context: click.Context, option: click.Parameter, value: str) -> RefusalHook:
    del context, option
    return RefusalHook(value)


refusal_hook_option = click.option(
    "--refusal-hook",
    type=click.Choice([hook.value for hook in RefusalHook]),
    default=RefusalHook.AUTO.value,
    show_default=True,
    callback=_as_refusal_hook,
    help="Where refused clones are seen. auto: at the return of the kernel's own functions (fexit, "
    "else kretprobe), else at the exit tracepoints, which slow every system call by some 50 ns. "
    "off: nowhere.",
)
socket_option = click.option(
    "--socket",
    metavar="PATH",
    type=click.Path(path_type=Path, readable=False),
    default="/run/threadtrace.sock",
    show_default=True,
    envvar="THREADTRACE_SOCKET",
    show_envvar=True,
    help="Where a running agent answers `threadtrace why` and `threadtrace top --connect`.",
)


thresholds_option = click.option(
    "--thresholds",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),
    envvar="THREADTRACE_THRESHOLDS",
    show_envvar=True,
    help="TOML file that tells from when on growth is called an explosion, for all workloads, a "
    "namespace or single workloads; see docs/detection.md.",
)
record_option = click.option(
    "--record-dir",
    metavar="DIR",
    envvar="THREADTRACE_RECORD_DIR",
    show_envvar=True,
    help="Flight recorder: write what happened, from ten minutes before an explosion or the first "
    "refusal on, into this directory, which must exist and should be local, for `threadtrace "
    "report`. 512 MiB at most, and 5 % of the disk (at least 64 MiB) stay free: the oldest go.",
)


@dataclass(frozen=True, slots=True)
class Counting:
    """What the commands that count were asked for alike."""

    interval_seconds: float
    max_cgroups: int
    host_root: Path
    refusal_hook: RefusalHook
    socket: Path
    thresholds: Path | None
    record_dir: str | None

    def agent_options(self, is_answering: bool = True) -> AgentOptions:
        """For the agent.

        Args:
            is_answering: whether ``threadtrace why`` and other views may ask it.

        Raises:
            ConfigError: the file of thresholds cannot be used.
        """
        from threadtrace.agent import AgentOptions
        from threadtrace.detect.config import load_config
        from threadtrace.output.details import (
            process_inspection_fields,
            workload_details_fields,
        )
        from threadtrace.output.why import agents_answer
        from threadtrace.questions import Renderers

        config = None if self.thresholds is None else load_config(self.thresholds)
        return AgentOptions(
            self.max_cgroups,
            self.host_root,
            self.socket if is_answering else None,
            Renderers(agents_answer, workload_details_fields, process_inspection_fields),
            self.refusal_hook,
            config,
        )


def counting_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options of every command that counts, given to it as one ``counting``."""

    @functools.wraps(command)
    def with_counting(**values: Any) -> int:
        names = [entry.name for entry in fields(Counting)]
        counting = Counting(**{name: values.pop(name) for name in names})
        return command(counting=counting, **values)

    options = (
        record_option,
        thresholds_option,
        socket_option,
        refusal_hook_option,
        host_root_option,
        max_cgroups_option,
        interval_option,
    )
    wrapped: Callable[..., int] = with_counting
    for option in options:
        wrapped = option(wrapped)
    return wrapped

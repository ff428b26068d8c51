"""The agent and its start-up, the only time when it may start a process; heart.py drives it."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from threadtrace.answering import AnswerSocket
from threadtrace.clock import Clock
from threadtrace.detect.config import DetectionConfig
from threadtrace.detect.thresholds import Thresholds
from threadtrace.explosions import ThresholdsOf
from threadtrace.identity.runtimes import RuntimeFiles
from threadtrace.identity.workloads import Directory, Workload
from threadtrace.log import warn
from threadtrace.model.refusal import REFUSAL_PROGRAMS
from threadtrace.node.cgroups import CgroupTree
from threadtrace.node.hierarchy import (
    PidsHierarchy,
    enter_host_cgroup_namespace,
    find_pids_hierarchy,
    is_in_host_cgroup_namespace,
)
from threadtrace.node.limits import NodeLimits, read_node_limits
from threadtrace.node.processes import ProcessTable
from threadtrace.pipeline import Pipeline
from threadtrace.probe.loader import (
    DEFAULT_MAX_CGROUPS,
    LoadedPrograms,
    Loader,
    LoaderOptions,
)
from threadtrace.probe.plan import RefusalHook
from threadtrace.probe.records import KERNEL_CGROUP_ID
from threadtrace.probe.source import BlindSource, LiveSource
from threadtrace.questions import Renderers, handlers

# For everything that is not a cgroup's counter: maps, programs, attachments, outputs.
_RESERVED_DESCRIPTORS = 256
# A counter that stays open costs the kernel 4.5 kB, charged to the agent: 18 MB at the most.
_MAX_DESCRIPTORS = 4_096 + _RESERVED_DESCRIPTORS
_BASELINE_SWEEP_SECONDS = 2.0

PID_NAMESPACE_EFFECT = (
    "processes of other containers have no name and no number of threads, the kernel's threads "
    "count as the host's, and the node's pid_max is not known where each namespace has one"
)


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What a user may choose about counting."""

    max_cgroups: int = DEFAULT_MAX_CGROUPS
    host_root: Path = Path("/")
    """Where the node's root directory is mounted: the runtimes' files are read below it."""
    socket: Path | None = None
    """Where to answer questions and to tell events; None: nowhere."""
    renderers: Renderers | None = None
    """What makes the answers."""
    refusal_hook: RefusalHook = RefusalHook.AUTO
    detection: DetectionConfig | None = None
    """From when on growth is called an explosion; None: the defaults."""


class Agent:
    """A running agent: programs attached, baseline taken."""

    def __init__(
        self, source: LiveSource, pipeline: Pipeline, loaded: LoadedPrograms, mode: PidsHierarchy
    ) -> None:
        """See ``start_agent``."""
        self.source = source
        self.pipeline = pipeline
        self.loaded = loaded
        self.hierarchy = mode
        self.answers: AnswerSocket | None = None

    @property
    def counts_refusals(self) -> bool:
        """Whether refused clones are seen at all here."""
        return any(hook["program"] in REFUSAL_PROGRAMS for hook in self.loaded.hooks)

    def before_tick(self) -> None:
        """Nothing: the kernel's programs tell."""

    @property
    def descriptors(self) -> list[int]:
        """Readable when the agent has something to do before its next tick."""
        answers = [] if self.answers is None else [self.answers.fileno()]
        return [self.source.fileno(), *answers]

    def details(self) -> dict[str, Any]:
        """What ``threadtrace.started`` carries: how this agent counts, and what it cannot."""
        facts = self.loaded.facts
        limits = node_limits_reader(self.loaded)()
        return {
            "kernel_release": facts["kernel_release"],
            "cgroup_mode": self.hierarchy.mode,
            "pids_cgroup_version": self.hierarchy.version,
            "hooks": [_without_none(hook) for hook in self.loaded.hooks],
            "missing": [*self.loaded.missing, *_blind_spots(self.hierarchy, facts)],
            "tracefs_mounted_privately": self.loaded.tracefs_mounted_privately,
            "node": _without_none(
                {
                    "tasks_count": limits.tasks_count,
                    "pid_max_limit": limits.pid_max,
                    "pid_max_usable_limit": limits.pid_max_usable,
                    "threads_max_limit": limits.threads_max,
                }
            ),
        }


class BlindAgent:
    """What stands in for an agent where no program can be attached: /proc and cgroup files alone.

    It knows how many tasks there are, of whom, and which limits bind them; it counts nothing.
    """

    answers: AnswerSocket | None = None
    descriptors: Sequence[int] = ()

    def __init__(self, pipeline: Pipeline) -> None:
        """See ``start_pipeline_without_programs``."""
        self.pipeline = pipeline

    def before_tick(self) -> None:
        """Look for what the kernel's programs would have told."""
        self.pipeline.look_everywhere()


@contextmanager
def start_agent(
    options: AgentOptions, meanwhile: Callable[[], None] | None = None
) -> Iterator[Agent]:
    """Attach the programs and take the baseline; detaches at the end.

    While the loader process compiles, the agent reads the cgroup tree and the processes.

    Args:
        options: see there.
        meanwhile: called once while it still compiles, such as to import what is needed next.

    Raises:
        ThreadtraceError: with the remedy.
    """
    enter_host_cgroup_namespace()
    hierarchy = find_pids_hierarchy()
    loader_options = LoaderOptions(
        hierarchy.hierarchy_id, options.max_cgroups, refusal_hook=options.refusal_hook
    )
    with Loader(loader_options) as loader:
        tree = CgroupTree(hierarchy, _lift_descriptor_limit() - _RESERVED_DESCRIPTORS)
        tree.scan()
        processes = ProcessTable(hierarchy.version, tree.id_of_path, KERNEL_CGROUP_ID)
        processes.sweep(_BASELINE_SWEEP_SECONDS)
        if meanwhile is not None:
            meanwhile()
        loaded = loader.result()
    source = LiveSource(loaded)
    try:
        directory = Directory(RuntimeFiles(options.host_root))
        read_limits = node_limits_reader(loaded)
        pipeline = Pipeline(
            source,
            tree,
            processes,
            directory,
            Clock(),
            read_limits,
            thresholds_of=_thresholds_of(options.detection or DetectionConfig({}, {}, {})),
            counting_since_ns=loaded.counting_since_ns,
        )
        agent = Agent(source, pipeline, loaded, hierarchy)
        with _answering(options, agent) as agent.answers:
            yield agent
    finally:
        source.close()
        tree.close()


@contextmanager
def _answering(options: AgentOptions, agent: Agent) -> Iterator[AnswerSocket | None]:
    """Where another agent answers there already, or no socket can be made, this one does not."""
    path, renderers = options.socket, options.renderers
    answers = None
    if path is not None and renderers is not None:
        try:
            answers = AnswerSocket(
                path, handlers(agent.pipeline, lambda: agent.details()["missing"], renderers)
            )
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                reason = error.strerror or error
                warn(f"no socket for threadtrace why: {path}: {reason}; try --socket")
    try:
        yield answers
    finally:
        if answers is not None:
            answers.close()


@contextmanager
def start_pipeline_without_programs(options: AgentOptions) -> Iterator[Pipeline]:
    """What /proc and cgroup files tell, where no program can be attached.

    Raises:
        ThreadtraceError: not even the pids controller is there.
    """
    hierarchy = find_pids_hierarchy()
    tree = CgroupTree(hierarchy)
    try:
        processes = ProcessTable(hierarchy.version, tree.id_of_path, KERNEL_CGROUP_ID)
        processes.sweep(_BASELINE_SWEEP_SECONDS)
        directory = Directory(RuntimeFiles(options.host_root))
        yield Pipeline(BlindSource(), tree, processes, directory, Clock())
    finally:
        tree.close()


def _thresholds_of(config: DetectionConfig) -> ThresholdsOf:
    def thresholds_of(workload: Workload) -> Thresholds | None:
        namespace = None if workload.names is None else workload.names.k8s_namespace
        return config.thresholds_for(namespace, workload.name)

    return thresholds_of


def node_limits_reader(loaded: LoadedPrograms) -> Callable[[], NodeLimits]:
    """What reads the node's limits: without pid_max where ours is another than the node's.

    Since 6.14 each PID namespace has its own, and the file shows that of who reads it.
    """
    if loaded.has_pid_max_per_namespace and not loaded.facts["in_initial_pid_namespace"]:
        return lambda: replace(read_node_limits(), pid_max=None)
    return read_node_limits


def _lift_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard one; the limit that holds now."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)


def _blind_spots(hierarchy: PidsHierarchy, facts: dict[str, Any]) -> list[dict[str, str]]:
    """What this process cannot see from where it runs."""
    spots = []
    if not hierarchy.is_whole:
        spots.append(
            {
                "what": "the whole cgroup hierarchy",
                "effect": "cgroups outside this container have no path and no present count",
                "remedy": "mount the host's /sys/fs/cgroup, or run with hostPID: true",
            }
        )
    if not is_in_host_cgroup_namespace():
        spots.append(
            {
                "what": "the node's cgroup namespace",
                "effect": "processes belong to no workload: no top processes, no thread names",
                "remedy": "add CAP_SYS_ADMIN and CAP_SYS_PTRACE, or share that namespace",
            }
        )
    if facts["in_initial_pid_namespace"] is False:
        spots.append(
            {
                "what": "the node's PID namespace",
                "effect": PID_NAMESPACE_EFFECT,
                "remedy": "run with hostPID: true",
            }
        )
    return spots


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}

"""Workloads that make many threads or processes, as they should."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from bench.detection import material
from bench.detection.tools import Tools, find
from bench.detection.workload import Place, Workload

Command = Callable[[Tools, Place], Sequence[str]]

_TRUE_LOOP = "i=0; while [ $i -lt 10000 ]; do /bin/true; i=$((i+1)); done"
_PROBE = (
    "for second in $(seq 60); do"
    " grep ctxt /proc/stat | awk '{print $2}' | tr -d x >/dev/null; sleep 1; done"
)
_NIGHTLY = (
    "for night in $(seq 10); do"
    ' find "$1" -name "*.log" -print0 | xargs -0 -P4 -n1 gzip -k -f;'
    ' sort --parallel=4 "$2" -o "$2.sorted"; done'
)
_INSTALL = '"$1" -m venv "$2/venv" && shift 2 && "$0"/venv/bin/pip install --quiet "$@"'


def _pool(kind: str, number: int, seconds: float) -> Command:
    return lambda tools, _: [*tools.python("pools"), kind, str(number), str(seconds)]


def _java(name: str, *arguments: str) -> Command:
    return lambda tools, _: [*tools.java(name), *arguments]


def _shell(script: str) -> Command:
    return lambda _, __: ["sh", "-c", script]


def _javac(_: Tools, place: Place) -> Sequence[str]:
    sources = material.java_sources(place.scratch, 150)
    return [find("javac"), "-d", f"{place.scratch}/classes", *sources]


def _make(_: Tools, place: Place) -> Sequence[str]:
    find("gcc")
    project = material.c_project(place.scratch, 200)
    return [find("make"), "-j8", "-s", "-C", project]


def _install(_: Tools, place: Place) -> Sequence[str]:
    directory, names = material.wheels(place.scratch)
    options = ["--no-index", "--no-deps", "--force-reinstall", "--find-links", directory]
    script = ["sh", "-c", _INSTALL, place.scratch, sys.executable, place.scratch]
    return [*script, *options, *names]


def _nightly(_: Tools, place: Place) -> Sequence[str]:
    logs = material.files_to_pack(place.scratch, 40, 1_500_000)
    return ["sh", "-c", _NIGHTLY, "sh", logs, f"{place.scratch}/large"]


def _postgres(tools: Tools, place: Place) -> Sequence[str]:
    programs, data = material.database(place.scratch)
    return material.as_postgres([*tools.python("connections"), programs, data, "200", "10"])


def _containers(tools: Tools, place: Place) -> Sequence[str]:
    five = ["/leak", "-k", "-r", "1000", "-n", "4", "-d", "0", "-t", "30"]
    directory = material.bundles(place.scratch, place.cgroup, 50, five, tools)
    return [*tools.python("containers"), directory, "8"]


BENIGN = (
    Workload(
        "jvm-start", "benign", "fit", "processor", "a JVM starts, and serves 20 at once",
        _java("Server", "12"), 14, limit=500, least_peak=30,
    ),
    Workload(
        "go-start", "benign", "report", "processor", "a Go server starts, and serves 50 at once",
        lambda tools, _: [tools.go("server"), "12"], 13, limit=500, least_peak=5,
    ),
    Workload(
        "javac", "benign", "report", "processor", "javac of 150 classes",
        _javac, 10, limit=500, least_peak=15,
    ),
    Workload(
        "make-j8", "benign", "fit", "processor", "make -j8 of a C project of 200 files",
        _make, 40, limit=500, least_births=600,
    ),
    Workload(
        "shell-loop", "benign", "report", "processor", "a shell loop of 10,000 /bin/true",
        _shell(_TRUE_LOOP), 20, limit=500, least_births=10_000,
    ),
    Workload(
        "python-pool-500", "benign", "fit", "processor", "a Python pool of 500 threads, at once",
        _pool("fixed", 500, 15), 17, limit=2000, least_peak=501,
    ),
    Workload(
        "jvm-pool-500", "benign", "report", "processor", "a JVM's pool of 500 threads, prestarted",
        _java("FixedPool", "500", "15"), 17, limit=2000, least_peak=510,
    ),
    Workload(
        "postgres-200", "benign", "fit", "processor", "PostgreSQL takes 200 connections at once",
        _postgres, 20, limit=1000, least_peak=200,
    ),
    Workload(
        "pip-install", "benign", "fit", "processor", "pip installs wheels into a new environment",
        _install, 15, limit=500, least_births=3,
    ),
    Workload(
        "containers-50", "benign", "report", "processor", "50 containers of 5 threads, at once",
        _containers, 30, limit=4096, leaf="starter", least_peak=250,
    ),
    Workload(
        "nightly", "benign", "report", "processor", "find | xargs -P4 gzip, and sort --parallel",
        _nightly, 25, limit=500, least_births=400,
    ),
    Workload(
        "processes-32", "benign", "fit", "processor", "multiprocessing's pool of 32, hard at work",
        _pool("processes", 32, 15), 17, limit=500, least_peak=33,
    ),
    Workload(
        "plateau-linear", "benign", "fit", "pools", "a pool grows to 200 in two minutes, and stays",
        _pool("linear", 200, 150), 151, limit=1000, least_peak=200,
    ),
    Workload(
        "plateau-saturating", "benign", "report", "pools", "a pool grows to 200, ever slower",
        _pool("saturating", 200, 150), 151, limit=1000, least_peak=195,
    ),
    Workload(
        "sawtooth", "benign", "fit", "pools", "a service of 0 to 300 threads, up and down in 15 s",
        _pool("sawtooth", 300, 60), 61, limit=1000, least_peak=280,
    ),
    Workload(
        "cron-probe", "benign", "report", "pools", "a probe of four processes each second",
        _shell(_PROBE), 62, limit=500, least_births=240,
    ),
    Workload(
        "restarts", "benign", "fit", "pools", "a process with 64 threads is replaced every 5 s",
        _pool("restarts", 64, 60), 62, limit=500, least_peak=120,
    ),
)  # fmt: skip

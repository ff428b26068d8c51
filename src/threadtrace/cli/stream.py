"""``threadtrace stream``: events as JSON lines."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from threadtrace.cli.options import Counting, Seconds, counting_options


def _check_outputs(
    context: click.Context, option: click.Parameter, names: tuple[str, ...]
) -> tuple[str, ...]:
    from threadtrace.delivery.destinations import check_names
    from threadtrace.errors import UsageError

    try:
        check_names(names)
    except UsageError as error:
        raise click.BadParameter(str(error), context, option) from None
    return names


@click.command()
@counting_options
@click.option(
    "--duration",
    "duration_seconds",
    metavar="SECONDS",
    type=Seconds(min=0, min_open=True),
    help="End after that long; without it, run until a signal comes.",
)
@click.option(
    "--output",
    "outputs",
    metavar="-|FILE|tcp://IP:PORT|unix:PATH",
    multiple=True,
    callback=_check_outputs,
    default=["-"],
    show_default="-, which is standard output",
    help="Where events go: a file is appended to; a collector's socket is connected to again and "
    "again. May be given several times.",
)
@click.option(
    "--buffer-bytes",
    metavar="N",
    type=click.IntRange(min=1 << 16, max=1 << 30),
    default=16 << 20,
    show_default=True,
    help="What waits before each output that is slow or gone. Beyond it the oldest rates are "
    "dropped first, refusals and explosions last, and a threadtrace.loss event tells how many.",
)
@click.option(
    "--rotate-bytes",
    metavar="N",
    type=click.IntRange(min=1 << 16),
    help="Put a file of --output aside as FILE.1 before it gets larger than that.",
)
@click.option(
    "--rotate-seconds",
    metavar="SECONDS",
    type=Seconds(min=1),
    help="Or after that long.",
)
@click.option(
    "--keep-files",
    metavar="N",
    type=click.IntRange(min=1, max=1000),
    default=5,
    show_default=True,
    help="How many files that were put aside stay.",
)
@click.option(
    "--filters",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),
    envvar="THREADTRACE_FILTERS",
    show_envvar=True,
    help="TOML file that tells which events there are: by name, namespace and severity, and how "
    "many a second; see docs/outputs.md. SIGHUP reads it again.",
)
@click.option(
    "--listen",
    "addresses",
    metavar="IP:PORT|unix:PATH",
    multiple=True,
    help="Answer HTTP there: /metrics for Prometheus, /healthz, /readyz, /v1/... for `threadtrace "
    "why` and `threadtrace top --connect`. Other addresses than this machine's own need a "
    "--token-file. May be given several times.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    help="Who asks over HTTP has to send what this file holds as a bearer token.",
)
@click.option(
    "--tls-cert", "certificate", metavar="FILE", help="Speak HTTPS, with this certificate (PEM)."
)
@click.option("--tls-key", "key", metavar="FILE", help="Its key, where it is in another file.")
@click.option(
    "--metrics-workloads",
    metavar="N",
    type=click.IntRange(min=0, max=1_000),
    default=100,
    show_default=True,
    help="How many workloads have series of their own in /metrics; the others count together.",
)
@click.option("--all", "include_idle", is_flag=True, help="Also workloads without any activity.")
def stream(
    counting: Counting,
    duration_seconds: float | None,
    outputs: tuple[str, ...],
    buffer_bytes: int,
    rotate_bytes: int | None,
    rotate_seconds: float | None,
    keep_files: int,
    filters: Path | None,
    addresses: tuple[str, ...],
    token_file: str | None,
    certificate: str | None,
    key: str | None,
    metrics_workloads: int,
    include_idle: bool,
) -> int:
    """Write one JSON event a line.

    What is there at the start comes at once; then, each interval, what happened, by workload, and
    without waiting for it what cannot wait: refused clones and thread explosions. The events are
    described in docs/events.md, and by a JSON Schema. The end, by a signal or by --duration, is a
    tick too: nothing counted is left out.

    No output ever holds up the counting. Without a terminal, SIGHUP reads --filters again and looks
    whether a file of --output was renamed, and, for --listen, the token and the certificate.
    """
    from threadtrace.delivery.destinations import has_file
    from threadtrace.delivery.file import Rotation
    from threadtrace.streaming.options import Listening, Streaming
    from threadtrace.streaming.run import stream as run_stream

    if not addresses and (token_file or certificate or key):
        raise click.UsageError("--token-file, --tls-cert and --tls-key need a --listen")
    if (rotate_bytes or rotate_seconds) and not has_file(outputs):
        raise click.UsageError("--rotate-bytes and --rotate-seconds need a file: --output FILE")
    if _is_given("keep_files") and not (rotate_bytes or rotate_seconds):
        raise click.UsageError("--keep-files needs --rotate-bytes or --rotate-seconds")
    streaming = Streaming(
        counting.interval_seconds,
        duration_seconds,
        include_idle,
        outputs,
        buffer_bytes,
        Rotation(rotate_bytes, rotate_seconds, keep_files),
        filters,
        counting.record_dir,
        Listening(addresses, token_file, certificate, key, metrics_workloads),
    )
    return run_stream(streaming, counting.agent_options())


def _is_given(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source is not ParameterSource.DEFAULT

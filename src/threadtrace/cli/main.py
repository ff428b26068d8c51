"""The command line: one group, one error boundary."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from threadtrace import __version__
from threadtrace.cli.doctor import doctor
from threadtrace.cli.stream import stream
from threadtrace.cli.top import top
from threadtrace.errors import ThreadtraceError
from threadtrace.log import warn
from threadtrace.output.sink import ReaderGone

EXIT_INTERRUPTED = 130
EXIT_READER_GONE = 141  # as shells tell of a writer that SIGPIPE ended
_DEBUG_VARIABLE = "THREADTRACE_DEBUG"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="threadtrace %(version)s")
def cli() -> None:
    r"""Which container on this node is exploding in threads?

    Counts every thread and process created, exited and refused, per container, in the kernel.
    Needs root (or CAP_BPF and CAP_PERFMON). `threadtrace doctor` tells what works here.

    \b
    Exit codes: 0 done, 64 wrong usage, 69 the host lacks something, 70 a bug, 74 events could
    not be written, 77 not allowed, 130 Ctrl-C, 128+N ended by signal N, 141 the reader closed
    the pipe.
    """


cli.add_command(stream)
cli.add_command(top)
cli.add_command(doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code. Whatever goes wrong is one line on stderr."""
    try:
        result = cli.main(args=arguments, prog_name="threadtrace", standalone_mode=False)
        return result if isinstance(result, int) else os.EX_OK
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "threadtrace"
        return _fail(f"{error.format_message()} (see {command} --help)", os.EX_USAGE)
    except click.ClickException as error:
        return _fail(error.format_message(), os.EX_USAGE)
    except ThreadtraceError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except (ReaderGone, BrokenPipeError):
        _silence_stdout()
        return EXIT_READER_GONE
    except Exception as error:
        if os.environ.get(_DEBUG_VARIABLE):
            traceback.print_exc()
        return _fail(
            f"unexpected {type(error).__name__}: {error}; please report it with the output of "
            f"{_DEBUG_VARIABLE}=1 threadtrace ...",
            os.EX_SOFTWARE,
        )


def _fail(message: str, code: int) -> int:
    warn(message)
    return code


def _silence_stdout() -> None:
    """Keep the interpreter from flushing into the closed pipe when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

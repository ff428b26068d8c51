"""The command line: one group, one error boundary."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from threadtrace import __version__
from threadtrace.cli.demo import demo
from threadtrace.cli.doctor import doctor
from threadtrace.cli.report import report
from threadtrace.cli.stream import stream
from threadtrace.cli.top import top
from threadtrace.cli.why import why
from threadtrace.delivery.errors import FULL_ERRORS, ReaderGone
from threadtrace.errors import ThreadtraceError
from threadtrace.log import warn

EXIT_INTERRUPTED = 130
EXIT_READER_GONE = 141  # as shells tell of a writer that SIGPIPE ended
_DEBUG_VARIABLE = "THREADTRACE_DEBUG"
_PROGRAM = "threadtrace"
_COMPLETION_VARIABLE = "_THREADTRACE_COMPLETE"


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
)
@click.version_option(__version__, message="threadtrace %(version)s")
def cli() -> None:
    """Which container on this node is exploding in threads?

    Counts every thread and process created, exited and refused, per container, in the kernel.
    Needs root (or CAP_BPF and CAP_PERFMON). `threadtrace doctor` tells what works here.

    Exit codes: 0 done, 64 wrong usage, 65 a recording that is none, 66 a file that cannot be read,
    69 the host lacks something, 70 a bug, 74 events could not be written, 77 not allowed, 78 a
    wrong file of thresholds or filters, 130 Ctrl-C, 128+N ended by signal N, 141 the reader closed
    the pipe.
    """


cli.add_command(stream)
cli.add_command(top)
cli.add_command(why)
cli.add_command(doctor)
cli.add_command(report)
cli.add_command(demo)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code. Whatever goes wrong is one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else _command_path(words)
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
    except OSError as error:
        if error.errno not in FULL_ERRORS:
            return _bug(error)
        _silence_stdout()
        return _fail(f"cannot write the output: {error.strerror}", os.EX_IOERR)
    except Exception as error:
        return _bug(error)


def _run(words: list[str]) -> int:
    if _COMPLETION_VARIABLE in os.environ:
        cli.main(words, _PROGRAM)
    # Not click's own main: it makes 1 of a closed pipe.
    try:
        with cli.make_context(_PROGRAM, words) as context:
            result = cli.invoke(context)
    except click.exceptions.Exit as end:  # of --help and --version
        result = end.exit_code
    if sys.stdout is not None:
        sys.stdout.flush()
    return result if isinstance(result, int) else os.EX_OK


def _command_path(words: Sequence[str]) -> str:
    """Of the command that the words name, where click does not tell."""
    named = next((word for word in words if word in cli.commands), None)
    return f"{_PROGRAM} {named}" if named else _PROGRAM


def _bug(error: Exception) -> int:
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
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

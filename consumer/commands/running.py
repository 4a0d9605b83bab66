"""From options to one answer, delivered, and one exit status: the only place where a command's errors are caught."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import cast

from consumer.commands import output
from consumer.commands.answer import EXPECTED, Answer, Exit, Failure, exit_status, failure_of
from consumer.commands.call import Call
from reconcile.human import visible
from reconcile.reports.forms import Format

Command = Callable[[Call], Answer]


def run(options: argparse.Namespace) -> int:
    """Do what the options say, and return the exit status."""
    try:
        ask = command(options.run)
        log(options)
        with interruptible():
            outcome = attempt(ask, Call(options, os.environ))
        complain(outcome)
        return exit_status(outcome, on_drift=options.exit_code)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, its leases let go; a container's first process would not hear it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def log(options: argparse.Namespace) -> None:
    """Set the log up, if anything was imported that logs: structlog costs more than a short command."""
    if "structlog" in sys.modules:
        from consumer.logs import configure  # noqa: PLC0415

        configure(options.log_level, options.log_format, colours=sys.stderr.isatty() and not os.environ.get("NO_COLOR"))


def command(name: str) -> Command:
    """Return a command's function by `module:function`."""
    module, _, function = name.partition(":")
    return cast("Command", getattr(import_module(f"consumer.commands.{module}"), function))


def attempt(ask: Command, call: Call) -> Answer | Failure:
    """Ask and hand the answer out; ends that are expected come back as a Failure."""
    try:
        return deliver(ask, call)
    except EXPECTED as error:
        return failure_of(error)


def deliver(ask: Command, call: Call) -> Answer:
    """Ask once, or again and again where it is watched, and hand the answer out."""
    options = call.options
    form = Format(options.format)
    for option in ("output_file", "metrics_file"):
        if file := getattr(options, option, None):
            output.check(Path(file), f"--{option.replace('_', '-')}")
    while options.watch is not None:
        answer = ask(call)
        if form is Format.TABLE and sys.stdout.isatty():
            output.on_screen(answer, clear=True)
        else:
            output.deliver(answer, form, options.output_file)
        time.sleep(options.watch.total_seconds())
    answer = ask(call)
    output.deliver(answer, form, options.output_file)
    return answer


def complain(outcome: Answer | Failure) -> None:
    """Tell each fault on a line of its own."""
    failure = outcome.failure if isinstance(outcome, Answer) else outcome
    for fault in failure.faults if failure else ():
        sys.stderr.write(f"storage-reconciler: {visible(fault)}\n")

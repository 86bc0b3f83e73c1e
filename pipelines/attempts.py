"""A job from its pipeline to its end, told in one message where it does not work."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from beam_argilla import errors

from . import messages, stopping

# DirectRunner would try to download another runner first.
LOCAL_RUNNER = 'apache_beam.runners.portability.fn_api_runner.FnApiRunner'
Built = TypeVar('Built')


def attempt(
    args: argparse.Namespace,
    aside: contextlib.ExitStack,
    build: Callable[[contextlib.ExitStack], Built],
    run: Callable[[Built], int],
) -> int:
    """Builds a job and runs it; the exit status.

    Args:
        aside: for as long as it is open, what Beam says while a job is built, runs or ends is kept from the person.
        build: makes the job; what it is given is open as long as its pipeline can be used.
        run: runs it, and returns the exit status.
    """
    stopping.begin()
    screen = sys.stderr if args.debug else aside.enter_context(messages.beam_aside())
    try:
        with contextlib.ExitStack() as tidying:
            try:
                built = build(tidying)
            except (ValueError, TypeError) as e:
                raise errors.InputError(str(e)) from e
            return run(built)
    except (KeyboardInterrupt, Exception) as e:
        told = messages.explain(e)
        if told is None or (args.debug and told[0] < 128):
            raise
        status, message = told
        print(message, file=screen)
        return status


def new_pipeline(beam_args: Sequence[str], tidying: contextlib.ExitStack) -> beam.Pipeline:
    """A pipeline with these options of Beam's, on this machine if they name no runner.

    Args:
        tidying: for as long as it is open, the pipeline can be used.
    """
    pipeline_options = PipelineOptions(list(beam_args))
    standard = pipeline_options.view_as(StandardOptions)
    standard.runner = standard.runner or LOCAL_RUNNER
    p = beam.Pipeline(options=pipeline_options)
    # Which Beam makes at once, and removes only where the pipeline runs.
    tidying.callback(shutil.rmtree, p.local_tempdir, ignore_errors=True)
    return p

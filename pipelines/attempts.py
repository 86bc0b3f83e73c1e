"""A job from its pipeline to its end, told in one message where it does not work."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TextIO, TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    TestOptions,
)
from apache_beam.runners.runner import PipelineResult

from beam_argilla import errors
from beam_argilla.runners import jobs_outlive_their_launch, ran_on_prism

from . import messages, stopping
from .account import Account
from .progress import Progress
from .watching import watched

# DirectRunner would try to download another runner first.
LOCAL_RUNNER = 'apache_beam.runners.portability.fn_api_runner.FnApiRunner'
Built = TypeVar('Built')


def attempt(
    args: argparse.Namespace,
    aside: contextlib.ExitStack,
    build: Callable[[contextlib.ExitStack], Built],
    run: Callable[[Built, TextIO | None], int],
    stopped: Callable[[], str],
    ended: Callable[[int, str | None], None] = lambda status, error: None,
) -> int:
    """Builds a job and runs it; the exit status.

    Args:
        aside: for as long as it is open, what Beam says while a job is built, runs or ends is kept from the person.
        build: makes the job; what it is given is open as long as its pipeline can be used.
        run: runs it, and returns the exit status; knows where a person can see how far it is.
        stopped: what to say when it was interrupted.
        ended: learns of the exit status, and of what is said of why it is none of those of `run`.
    """
    stopping.begin()
    screen = sys.stderr if args.debug else aside.enter_context(messages.beam_aside())
    tidying = contextlib.ExitStack()
    telling = threading.Lock()
    told = False

    def tell(status: int, message: str, shown: bool = True) -> None:
        """Says how it ended, once: whoever ends it first."""
        nonlocal told
        with telling:
            if told:
                return
            told = True
            if shown:
                print(message, file=screen, flush=True)
            with contextlib.suppress(errors.JobError):  # there is no place for it, which may be what is told here
                ended(status, message.removeprefix('error: '))

    def farewell() -> None:
        tell(stopping.status() or 130, stopped())
        tidying.close()

    try:
        with stopping.promptly(farewell), tidying:
            try:
                built = build(tidying)
            except (ValueError, TypeError) as e:
                raise errors.InputError(str(e)) from e
            status = run(built, screen)
            ended(status, None)
        return status
    except (KeyboardInterrupt, Exception) as e:
        expected = messages.explain(e, stopped)
        status, message = expected or (1, f'{type(e).__name__}: {e}')
        crashed = expected is None or (args.debug and status < 128)
        tell(status, message, shown=not crashed)
        if crashed:
            raise
        return status


def new_pipeline(beam_args: Sequence[str], tidying: contextlib.ExitStack) -> beam.Pipeline:
    """A pipeline with these options of Beam's, on this machine if they name no runner.

    Args:
        tidying: for as long as it is open, the pipeline can be used.
    """
    pipeline_options = PipelineOptions(list(beam_args))
    standard = pipeline_options.view_as(StandardOptions)
    if standard.runner is None or _is_on_several_workers(pipeline_options):
        standard.runner = LOCAL_RUNNER
    # Beam would send __main__ to Dataflow's workers, of which they need nothing, and which imports what they have not.
    setup = pipeline_options.view_as(SetupOptions)
    setup.save_main_session = setup.save_main_session or False
    p = beam.Pipeline(options=pipeline_options)
    # Which Beam makes at once, and removes only where the pipeline runs.
    tidying.callback(shutil.rmtree, p.local_tempdir, ignore_errors=True)
    return p


def _is_on_several_workers(pipeline_options: PipelineOptions) -> bool:
    """Whether DirectRunner is told how its workers run, which it hands on to FnApiRunner, and forgets on Prism."""
    runner = (pipeline_options.view_as(StandardOptions).runner or '').rpartition('.')[2]
    told = pipeline_options.view_as(DirectOptions).direct_running_mode != 'in_memory'
    return told and runner.lower() in ('directrunner', 'switchingdirectrunner')


def see_through(
    p: beam.Pipeline, account: Account, look: Callable[[], Progress], screen: TextIO | None, wanted: bool
) -> PipelineResult | None:
    """Runs a job to its end, while a person sees how far it is.

    Args:
        account: is told of it.
        look, screen, wanted: see `watched`.

    Returns:
        None if there was nothing to wait for.
    """
    with watched(look, screen, wanted) as say:
        result = account.result = _start(p, say)
        if result is not None:
            account.goes_on = goes_on(p, result)
            account.on_prism = ran_on_prism(p, result)
            _wait(p, result)
    return result


def _start(p: beam.Pipeline, say: Callable[[str], None]) -> PipelineResult | None:
    """Has the job run, and says where that can be watched if it is elsewhere.

    Returns:
        None if there is nothing to wait for: the job was made, and nobody runs it yet.
    """
    result = p.run()
    stopping.listen_again()
    if not jobs_outlive_their_launch(p):
        return result
    cloud = p.options.view_as(GoogleCloudOptions)
    if cloud.template_location:
        say(f'The template is written to {cloud.template_location}. Nothing runs until a job is started from it.')
        return None
    if p.options.view_as(TestOptions).dry_run:
        say("Translated for Dataflow and not submitted (Beam's own --dry_run).")
        return None
    say(f'The job: {_page(p, result)}')
    return result


def _wait(p: beam.Pipeline, result: PipelineResult) -> None:
    """Waits for a job to end. A signal has its engine cancel it, unless it is one that goes on by itself."""
    if jobs_outlive_their_launch(p):
        result.wait_until_finish()
        return
    with stopping.cancelling(result.cancel):
        result.wait_until_finish()


def goes_on(p: beam.Pipeline, result: PipelineResult) -> str | None:
    """What to say of a job that goes on elsewhere when nobody waits for it any more; None: it does not."""
    if not jobs_outlive_their_launch(p):
        return None
    cloud = p.options.view_as(GoogleCloudOptions)
    cancel = f'gcloud dataflow jobs cancel {result.job_id()} --region={cloud.region} --project={cloud.project}'
    return f'Stopped watching. The job goes on: {_page(p, result)}\nTo cancel it: {cancel}'


def _page(p: beam.Pipeline, result: PipelineResult) -> str:
    cloud = p.options.view_as(GoogleCloudOptions)
    return f'https://console.cloud.google.com/dataflow/jobs/{cloud.region}/{result.job_id()}?project={cloud.project}'

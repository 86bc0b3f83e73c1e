"""What Beam does not do for a transform: tell it where its workers will run and when the job has ended; and a trap."""

from __future__ import annotations

import atexit
import functools
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DebugOptions, FlinkRunnerOptions, PortableOptions, SparkRunnerOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

# By name, since importing them all would import what a job does not use, and to the letter: DaskRunner, for one, is a
# BundleBasedDirectRunner, but its workers are elsewhere. SwitchingDirectRunner is DirectRunner, which runs on Prism
# where it can, else on FnApiRunner or BundleBasedDirectRunner; all of them on this machine.
_DIRECT = ('SwitchingDirectRunner', 'FnApiRunner', 'BundleBasedDirectRunner', 'TestDirectRunner')


def workers_run_here(pipeline: beam.Pipeline) -> bool:
    """Whether the workers of a pipeline run on this machine and see its files, whether or not its runner was named.

    So it is with DirectRunner (multi-processing or not), FnApiRunner and Prism, and with an embedded Flink or Spark;
    not with workers in containers, in pools, on clusters or on Dataflow.

    Example:
        >>> ba.workers_run_here(beam.Pipeline())
        True
    """
    runner = _runner_of(pipeline)
    name = type(runner).__name__
    if name in _DIRECT:
        return True
    if not any(kind.__name__ == 'PortableRunner' for kind in type(runner).__mro__):
        return False
    options = pipeline.options
    embedded = (
        name == 'PrismRunner'
        or (name == 'FlinkRunner' and options.view_as(FlinkRunnerOptions).flink_master in ('[local]', '[auto]'))
        or (name == 'SparkRunner' and options.view_as(SparkRunnerOptions).spark_master_url.startswith('local'))
    )
    portable = options.view_as(PortableOptions)
    if portable.environment_type is None:  # then an embedded engine's workers are in this process; others' in Docker
        return embedded and not portable.output_executable_path
    return portable.environment_type == 'LOOPBACK' or (portable.environment_type == 'PROCESS' and embedded)


def jobs_outlive_their_launch(pipeline: beam.Pipeline) -> bool:
    """Whether jobs of a pipeline go on without the process that starts them, which may be gone when they end: Dataflow.

    So it is for sure with a template, and whenever somebody closes a laptop.
    """
    return any(kind.__name__ == 'DataflowRunner' for kind in type(_runner_of(pipeline)).__mro__)


def ran_on_prism(pipeline: beam.Pipeline, result: PipelineResult) -> bool:
    """Whether a job of a pipeline ran on Prism, as DirectRunner's do where they can."""
    name = type(_runner_of(pipeline)).__name__
    # Of what DirectRunner runs on, Prism alone is behind a job server.
    return name == 'PrismRunner' or (name == 'SwitchingDirectRunner' and hasattr(result, '_job_service'))


def _runner_of(pipeline: beam.Pipeline) -> Any:
    # An InteractiveRunner runs another.
    return getattr(pipeline.runner, '_underlying_runner', pipeline.runner)


def settled(label: str, *pcollections: beam.PCollection) -> beam.PCollection:
    """PCollections as one, which whoever applies a transform can do anything with.

    Beam drops what a bundle yields at its end (`finish_bundle`) if a DoFn that takes batches comes directly after it,
    as those of WriteToJson and of data frames do: its operations.DoOperation.finish hands batches on before that.
    """
    if len(pcollections) > 1:
        return pcollections | label >> beam.Flatten()
    return pcollections[0] | label >> beam.Map(_same)  # runners fuse it; a Flatten they write to somewhere


def _same(element: Any) -> Any:
    return element


def keep_prism_from_splitting(pipeline: beam.Pipeline) -> None:
    """Keeps Prism from splitting the bundles of a pipeline that reads large files.

    It would run up to eight of them in threads of the one process that all of its Python workers share: that gains no
    time (they share an interpreter), and each has buffers of its own. Of 2,000,000 rows, that made the process's peak
    1,358 MB instead of 570 MB, in as many seconds. Other runners do not know the option.
    """
    pipeline.options.view_as(DebugOptions).add_experiment('prism_disable_sdf_split')


def when_ended(pipeline: beam.Pipeline, callback: Callable[[], object]) -> None:
    """Calls back whenever a job of the pipeline has ended, well or not, as far as this process learns of it.

    It learns of it by `Pipeline.run` or by `wait_until_finish` on its result, which `with beam.Pipeline()` calls as
    well. If neither tells, it calls back when this process ends, provided that the workers end with it; and if the
    pipeline never runs, when it is forgotten.

    Args:
        callback: does no harm if it is called more than once.
    """
    never_run = weakref.finalize(pipeline, callback)
    never_run.atexit = workers_run_here(pipeline)

    def ended(failed: bool, last: bool) -> None:
        if last:
            callback()

    _watch(pipeline, ended, goes_on=never_run.detach)  # whether or not anybody remembers the pipeline


def when_failed(pipeline: beam.Pipeline, callback: Callable[[], object]) -> None:
    """Calls back when a job of the pipeline has failed or was stopped, as far as this process learns of it.

    It learns of it as `when_ended` does. If a pipeline is run several times, it calls back only as long as none of its
    jobs has ended well, and none is running.
    """
    well = False

    def ended(failed: bool, last: bool) -> None:
        nonlocal well
        well = well or not failed
        if last and not well:
            callback()

    _watch(pipeline, ended)


def _watch(
    pipeline: beam.Pipeline, ended: Callable[[bool, bool], object], goes_on: Callable[[], object] = lambda: None
) -> None:
    """Watches the jobs of a pipeline.

    Args:
        ended: called for each job that ends: whether it failed or was stopped, and whether no other is running.
        goes_on: called when a job was started and goes on.
    """
    here = workers_run_here(pipeline)
    run = pipeline.run
    running: set[int] = set()  # by number: a pipeline may be run again while it runs
    numbers = itertools.count()

    def has_ended(number: int, failed: bool) -> None:
        if number in running:
            running.remove(number)
            ended(failed, not running)

    @functools.wraps(run)
    def run_and_see(*args: Any, **kwargs: Any) -> Any:
        number = next(numbers)
        running.add(number)
        try:
            result = run(*args, **kwargs)
        except BaseException:
            has_ended(number, True)
            raise
        state = _state(result)
        if PipelineState.is_terminal(state):
            has_ended(number, _failed(state))
            return result
        goes_on()
        if here:
            atexit.register(lambda: has_ended(number, _failed(_state(result))))
        wait = result.wait_until_finish

        @functools.wraps(wait)
        def wait_and_see(*args: Any, **kwargs: Any) -> Any:
            raised = True
            try:
                out = wait(*args, **kwargs)
                raised = False
                return out
            finally:
                state = _state(result)
                if PipelineState.is_terminal(state) or (state is None and here):
                    has_ended(number, _failed(state, raised))

        result.wait_until_finish = wait_and_see
        return result

    pipeline.run = run_and_see  # Beam has no hook of its own for this


def _failed(state: str | None, otherwise: bool = True) -> bool:
    """Whether a job in this state has failed or was stopped; `otherwise` if it is none in which a job ends."""
    return state in (PipelineState.FAILED, PipelineState.CANCELLED) if PipelineState.is_terminal(state) else otherwise


def _state(result: PipelineResult) -> str | None:
    """The state of the job; None if its runner does not answer."""
    try:
        return result.state
    except Exception:  # gRPC's, or that of a cloud's client
        return None

"""What Beam does not tell a transform: where its workers will run, and when the job has ended."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DebugOptions, FlinkRunnerOptions, PortableOptions, SparkRunnerOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

# By name, since importing them all would import what a job does not use. SwitchingDirectRunner is DirectRunner, which
# runs on Prism where it can, else on FnApiRunner or BundleBasedDirectRunner; all of them on this machine.
_DIRECT = {'SwitchingDirectRunner', 'FnApiRunner', 'BundleBasedDirectRunner'}
_THIS_MACHINE = ('localhost', '127.0.0.1', '[::1]')


def workers_run_here(pipeline: beam.Pipeline) -> bool:
    """Whether the workers of a pipeline run on this machine and see its files, whether or not its runner was named.

    So it is with DirectRunner (multi-processing or not), FnApiRunner and Prism, and with an embedded Flink or Spark;
    not with workers in containers, on clusters or on Dataflow.

    Example:
        >>> ba.workers_run_here(beam.Pipeline())
        True
    """
    runner = getattr(pipeline.runner, '_underlying_runner', pipeline.runner)  # an InteractiveRunner runs another
    kinds = {kind.__name__ for kind in type(runner).__mro__}
    if kinds & _DIRECT:
        return True
    if 'PortableRunner' not in kinds:
        return False
    options = pipeline.options
    embedded = (
        'PrismRunner' in kinds
        or ('FlinkRunner' in kinds and options.view_as(FlinkRunnerOptions).flink_master in ('[local]', '[auto]'))
        or ('SparkRunner' in kinds and options.view_as(SparkRunnerOptions).spark_master_url.startswith('local'))
    )
    portable = options.view_as(PortableOptions)
    if portable.environment_type is None:  # then an embedded engine's workers are in this process; others' in Docker
        return embedded and not portable.output_executable_path
    if portable.environment_type == 'EXTERNAL':
        return (portable.environment_config or '').startswith(_THIS_MACHINE)
    return portable.environment_type == 'LOOPBACK' or (portable.environment_type == 'PROCESS' and embedded)


def one_bundle_at_a_time_on_prism(pipeline: beam.Pipeline) -> None:
    """Keeps Prism from splitting the bundles of a stage that reads large files.

    It would run up to eight of them in threads of the one process that all of its Python workers share: that gains no
    time (they share an interpreter), and each has buffers of its own. Of 2,000,000 rows, that made the process's peak
    1,358 MB instead of 570 MB, in as many seconds. Other runners do not know the option.
    """
    pipeline.options.view_as(DebugOptions).add_experiment('prism_disable_sdf_split')


def when_ended(pipeline: beam.Pipeline, callback: Callable[[], object]) -> None:
    """Calls back whenever a job of the pipeline has ended, well or not, as far as this process learns of it.

    It learns of it by `Pipeline.run` or by `wait_until_finish` on its result, which `with beam.Pipeline()` calls as
    well. If neither tells, it calls back when the pipeline is forgotten, or this process ends, provided that the
    workers end with it.

    Args:
        callback: does no harm if it is called more than once.
    """
    here = workers_run_here(pipeline)
    weakref.finalize(pipeline, callback).atexit = here
    run = pipeline.run

    @functools.wraps(run)
    def run_and_see(*args: Any, **kwargs: Any) -> Any:
        try:
            result = run(*args, **kwargs)
        except BaseException:
            callback()
            raise
        wait = result.wait_until_finish

        @functools.wraps(wait)
        def wait_and_see(*args: Any, **kwargs: Any) -> Any:
            try:
                return wait(*args, **kwargs)
            finally:
                if _has_ended(result, here):
                    callback()

        result.wait_until_finish = wait_and_see
        if _has_ended(result, False):
            callback()
        return result

    pipeline.run = run_and_see  # Beam has no hook of its own for this


def _has_ended(result: PipelineResult, otherwise: bool) -> bool:
    """Whether the job is in a final state; `otherwise` if its runner does not answer."""
    try:
        return PipelineState.is_terminal(result.state)
    except Exception:  # gRPC's, or that of a cloud's client
        return otherwise

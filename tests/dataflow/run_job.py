"""Runs the pipeline of a job on this machine, as the workers of Dataflow would: `run_job.py PIPELINE SECRETS_URL`.

PIPELINE is where the job's definition was staged; SECRETS_URL a Secret Manager that needs no credentials.
"""

from __future__ import annotations

import functools
import json
import sys

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import EmbeddedPythonEnvironment
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager

import beam_argilla as ba

location, secrets_url = sys.argv[1:]
secretmanager.SecretManagerServiceClient = functools.partial(
    secretmanager.SecretManagerServiceClient,
    transport='rest',
    client_options={'api_endpoint': secrets_url},
    credentials=AnonymousCredentials(),
)
with FileSystems.open(location) as file:
    pipeline = beam_runner_api_pb2.Pipeline.FromString(file.read())
here = EmbeddedPythonEnvironment.default().to_runner_api(None)
for environment in pipeline.components.environments.values():
    environment.CopyFrom(here)
result = FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([]))
result.wait_until_finish()
print(json.dumps(ba.counters(result)))

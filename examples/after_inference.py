"""Models answer prompts, and people see the answers side by side, in one pipeline.

    export ARGILLA_API_URL=http://localhost:6900 ARGILLA_API_KEY=argilla.apikey
    python examples/after_inference.py

`RunInference` gives a `PredictionResult` for each prompt. What people need of it is a dict: what was asked, what was
answered, and by which model. `WriteToArgilla` brings the answers to a prompt together, whichever branch they come from.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

import beam_argilla as ba

PROMPTS = ['Name a colour.', 'What is one plus one?', 'Say hello.']


class Parrot:
    """Stands for a model."""

    def __init__(self, name: str):
        self.name = name

    def answer(self, prompt: str) -> str:
        return f'{self.name} repeats: {prompt}'


class ParrotHandler(ModelHandler[str, PredictionResult, Parrot]):
    """How Beam asks it. For a real model, put a handler of Beam's in its place, `VLLMCompletionsModelHandler` say."""

    def __init__(self, name: str):
        self._name = name

    def load_model(self) -> Parrot:
        return Parrot(self._name)

    def run_inference(
        self, batch: Sequence[str], model: Parrot, inference_args: dict[str, Any] | None = None
    ) -> Iterator[PredictionResult]:
        for prompt in batch:
            yield PredictionResult(prompt, model.answer(prompt), model_id=model.name)


def as_row(result: PredictionResult) -> dict[str, str]:
    return {'prompt': result.example, 'answer': result.inference, 'model': result.model_id}


def main(argv: Sequence[str] | None = None) -> None:
    with beam.Pipeline(options=PipelineOptions(argv)) as p:
        prompts = p | beam.Create(PROMPTS)
        answers = [prompts | name >> RunInference(ParrotHandler(name)) for name in ('macaw', 'cockatoo')]
        _ = (
            answers
            | beam.Flatten()
            | beam.Map(as_row)
            | ba.WriteToArgilla(
                'after-inference',
                task=ba.Preference(num_generations=2, model_names=True),
                columns=ba.Columns(instruction='prompt', generation='answer', model_name='model'),
                connection=ba.ArgillaConnection(os.environ['ARGILLA_API_URL']),
                order='blind',  # lest annotators learn which model stands in which place
            )
        )


if __name__ == '__main__':
    main(sys.argv[1:])

"""Steps of Beam YAML in a pipeline of Python."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import yaml
from apache_beam.yaml.yaml_provider import load_providers, merge_providers
from apache_beam.yaml.yaml_transform import SafeLineLoader, YamlTransform

PROVIDERS = merge_providers(load_providers('beam_argilla/providers.yaml'))


def chain(*steps: dict[str, Any]) -> beam.PTransform:
    """Steps one after the other, as a file has them."""
    return composite(*steps, type='chain')


def composite(*steps: dict[str, Any], **more: Any) -> beam.PTransform:
    """Steps that name their inputs."""
    text = yaml.safe_dump({'type': 'composite', 'transforms': list(steps), **more}, sort_keys=False)
    return YamlTransform(yaml.load(text, SafeLineLoader), PROVIDERS)  # which knows the lines


def step(kind: str, **config: Any) -> dict[str, Any]:
    return {'type': kind, 'config': config}

"""Programs that people run: options, what a person sees, and the order of the steps.

Installed, this is `beam_argilla.pipelines`. What a worker runs lives in `beam_argilla`.
"""

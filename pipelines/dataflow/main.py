"""What the launcher of a flex template runs."""

from beam_argilla.pipelines.template import command

if __name__ == '__main__':
    command()

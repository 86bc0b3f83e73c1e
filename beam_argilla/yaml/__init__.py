"""The steps of Beam YAML: what a file says → the transforms of the other rooms, with rows in between."""

"""Everything that knows Argilla's REST API or its SDK. No Beam but its `Secret` and its back-off."""

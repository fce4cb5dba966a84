"""The conformance suite: black-box checks of `bellhousing.v1`, each proven able to fail."""

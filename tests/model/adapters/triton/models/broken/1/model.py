"""A model that refuses to be loaded, for tests."""


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args):
        raise RuntimeError("the weights are of last year")

    def execute(self, requests):
        return []

"""As far as the worker of llama-cpp-python needs it."""


class TemplateError(Exception):
    """A template that refuses."""

"""As far as the worker of llama-cpp-python needs it."""

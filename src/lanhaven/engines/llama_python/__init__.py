"""GGUF models by llama-cpp-python, where that is what is installed: one request after the other, text and embeddings.

Only `python -m lanhaven.engines.llama_python.worker` imports llama_cpp, and only there it need be installed.
"""

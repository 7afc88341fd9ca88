"""The OpenAPI document: a file for each API family, named in families.py, put together in document.py.

A family is a module with `paths()` (path -> method -> operation, made by `Family.operation`) and `SCHEMAS` (name ->
schema). Tests hold that every route of the server stands in the document, that nothing else does, and that every
example works and is answered as its reply's schema says.
"""

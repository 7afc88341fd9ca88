"""What children have in common whose engine brings no HTTP server: llama.cpp's routes and words, on a socket.

The server's thread knows HTTP and text, another one loads the model and computes tokens. An engine gives `Prompts`,
`Marks`, `Grammars`, a `Computing` and a `draw` (see replying.Model), and is run by `child.run`.
"""

"""llama.cpp in child processes of our own."""

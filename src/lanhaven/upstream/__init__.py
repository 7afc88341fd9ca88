"""The one inference client: pooled HTTP/1.1 over unix sockets, TCP and TLS, believing no upstream blindly."""

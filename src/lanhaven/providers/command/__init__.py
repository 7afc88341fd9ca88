"""Programs that serve OpenAI, run as children."""

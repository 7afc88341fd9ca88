"""What providers have in common whose models run on other machines: asking them, and telling how they do."""

"""Every provider of ours under the suite that every provider must pass: here stands only how each is started."""

"""Domain types: plain frozen data, no behaviour beyond reading it."""

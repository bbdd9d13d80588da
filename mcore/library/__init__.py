"""What the store holds as a person thinks of it: results and models, notes on them, files that somebody sent."""

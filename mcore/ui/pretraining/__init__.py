"""The Pre-training page: a sweep over steps, asked and shown."""

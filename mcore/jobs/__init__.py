"""The queue between pages and the worker, whose turn it is, and the worker itself."""

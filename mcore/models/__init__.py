"""Checkpoints as files: looked at without being loaded, bounded, compared and, where they need it, written anew."""

"""The Library page, and what is kept on this machine."""

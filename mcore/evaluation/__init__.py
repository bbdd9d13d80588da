"""From a live model and batches to responses, and from responses to losses, probes and barriers with their intervals."""

"""The Knowledge page: the flow, every example, forgetting, who knows what."""

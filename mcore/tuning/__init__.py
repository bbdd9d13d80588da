"""Fine-tuning by recipe: watched, resumable, kept once; what it followed on the way, and what differs between two recipes."""

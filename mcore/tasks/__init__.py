"""Tasks: rows found, read, written as texts and cut into batches, with the labels that they have."""

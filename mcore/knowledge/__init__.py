"""What is known along a path: which rows are mastered, forgotten and learned, where, and what they were like in training."""

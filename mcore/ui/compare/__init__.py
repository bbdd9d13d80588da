"""The Compare page: cards, strip, stage and tabs."""

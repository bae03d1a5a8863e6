"""Times and counts, and the statistics that say what they are worth."""

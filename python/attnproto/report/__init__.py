"""The page and the text that show a run's rows and findings."""

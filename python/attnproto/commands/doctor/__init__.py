"""What this machine's device answers to the questions that the laboratory rests on."""

"""What the doctor asks of Metal, besides the questions of the first day."""

OPEN = (*(f"Q{i}" for i in range(1, 9)), *(f"G{i}" for i in range(1, 21)))

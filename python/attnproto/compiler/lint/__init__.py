"""What Metal's compiler would refuse or change, found without it."""

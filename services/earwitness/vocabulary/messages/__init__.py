"""Values to the messages of the contract and back. What a message lacks or has too much of is refused by its field."""

"""What becomes of calls when a part of the system fails; real processes, and a promise each."""

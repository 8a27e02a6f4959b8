"""The backend `transformers`: the base runs in this process, and rows join and leave its batch."""

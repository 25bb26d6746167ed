"""Single questions, and who can answer them."""

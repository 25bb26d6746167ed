"""How processes meet, as this package offers it: in memory for one that is alone, and through Redis."""

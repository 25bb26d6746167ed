"""How frames travel between the processes of one server."""

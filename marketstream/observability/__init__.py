"""How the server shows itself: clock, log and figures."""

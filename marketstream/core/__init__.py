"""What the server knows and decides, without a clock, a socket, a task or a log."""

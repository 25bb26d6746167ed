"""Socket.IO on namespace `/market-data`: python-socketio's face on this server's hub."""

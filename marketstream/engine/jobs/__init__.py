"""What is done periodically."""

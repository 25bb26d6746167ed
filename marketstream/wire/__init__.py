"""Every byte format the server speaks: pure functions from values to bytes and back."""

"""Where quotes come from; each feed is one class that satisfies the `Feed` port."""

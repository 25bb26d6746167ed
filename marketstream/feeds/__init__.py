"""Where quotes come from; each feed is one file and satisfies the `Feed` port."""

"""Who a client is: tokens and the keys they are checked with."""

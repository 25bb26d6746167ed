"""Where answers of providers are kept for a while: in this process or in a Redis that processes share."""

"""What vendors say, read by pure functions: one vendor is one parser of answers, or of a stream.

A parser of answers has the nouns of `core.query.model` come out. It raises `UnknownSymbolError` where the
vendor says that there is no such symbol, and a `ProviderError` for whatever else it says or fails to say;
nothing but these, whatever the bytes. No text of a vendor goes into an error: some of them repeat the key
they were given. A parser of a stream has quotes come out, and passes over what makes no sense.
"""

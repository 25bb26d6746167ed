"""What vendors answer: bytes in, nouns of `core.provision` out; one module a vendor.

A parser raises `UnknownSymbolError` where the vendor says that there is no such symbol, and a `ProviderError`
for whatever else it says or fails to say; nothing but these, whatever the bytes. No text of a vendor goes
into an error: some of them repeat the key they were given.
"""

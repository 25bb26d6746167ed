"""Those who are asked for one thing at a time: a quote, candles, a profile, a search, news.

Each asks once, within its own time and its quota, and says by an error of `errors` what went wrong. None of
them was ever seen to work against its vendor: shapes and words are those of documentation and of clients.
"""

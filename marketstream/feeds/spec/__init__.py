"""What `--feed` says for the feeds of this package; one module makes each of them.

    synthetic[?symbols=EUR/USD,AAPL,SYM*100&rate=10&sources=2&shape=burst|spread&seed=7&demand=0]
    replay:FILE[?speed=1&loop=0&wait=0]
    alpaca[?feed=iex|sip|delayed_sip|test&channels=quotes,trades&cap=30&auth=message|headers&mute_after=&busy_wait=60
           &url=]
    yahoo[?mute_after=60&url=]
    none

Every feed also takes `stale_after=SECONDS`: how long a source of it may be silent.

Parameters follow the first question mark and may be percent-encoded. Left out, they are what stands above,
the first of several choices, for `symbols` a handful of currencies, shares and a coin, and for `cap` none (0)
where `feed` is `sip`. What they mean is said at the feeds. Anything unknown, given twice or impossible is
refused with a sentence that says what is accepted. Nothing is started or read yet, but a tape must exist, and
`alpaca` must have its keys.
"""

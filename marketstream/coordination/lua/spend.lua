-- Notes that a provider wants no question for a while; never shortens what is noted.
--
-- KEYS: the quota of the provider, as of provider_quota.lua.
-- ARGV: milliseconds.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local quiet = math.max(now + ARGV[1], tonumber(redis.call('HGET', KEYS[1], 'until') or 0))
redis.call('HSET', KEYS[1], 'until', quiet)
redis.call('PEXPIREAT', KEYS[1], math.max(quiet, (math.floor(now / 86400000) + 1) * 86400000))
return quiet - now

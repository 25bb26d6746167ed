-- Notes that a node is alive, and tells who else was when.
--
-- KEYS: when each node was heard, the numbers of their newest words.
-- ARGV: the node, its number, milliseconds after which a node that was not heard is forgotten.
-- Returns whether the node was known (1 or 0), and of each node its name, its number, when it was heard and
-- the milliseconds since, in turn. All by the server's clock.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local told = { redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0 }
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local long_ago = string.format('(%.0f', now - ARGV[3])
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', long_ago)) do
  redis.call('ZREM', KEYS[1], node)
  redis.call('HDEL', KEYS[2], node)
end
local seen = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for at = 1, #seen, 2 do
  told[#told + 1] = seen[at]
  told[#told + 1] = redis.call('HGET', KEYS[2], seen[at]) or '0'
  told[#told + 1] = seen[at + 1]
  -- A clock that was set back leaves times ahead of it: those count as long ago too.
  told[#told + 1] = math.abs(now - seen[at + 1])
end
return told

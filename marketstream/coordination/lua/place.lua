-- Counts one more connection of a user, if the limit allows it.
--
-- KEYS: the user's connections.
-- ARGV: the node that asks, how many it has, the limit, milliseconds the count is kept, and nodes
-- that are dead: what they had is free.
-- Returns 1 if it was taken; else 0, and the names of the other nodes that have some.
for at = 5, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[at])
end
-- What the node says counts if more than is known here was forgotten.
local own = tonumber(ARGV[2])
local others, holders = 0, { 0 }
local counts = redis.call('HGETALL', KEYS[1])
for at = 1, #counts, 2 do
  if counts[at] == ARGV[1] then
    own = math.max(own, tonumber(counts[at + 1]))
  else
    others = others + tonumber(counts[at + 1])
    holders[#holders + 1] = counts[at]
  end
end
if own + others + 1 > tonumber(ARGV[3]) then
  return holders
end
redis.call('HSET', KEYS[1], ARGV[1], own + 1)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return { 1 }

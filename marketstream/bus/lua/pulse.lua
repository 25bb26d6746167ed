-- Notes that whoever feeds the market is alive, on the same way as its frames go: by a write, in its term.
--
-- KEYS: for each shard the term that may publish, and where the sign of life is kept.
-- ARGV: the term, milliseconds the sign is kept.
-- Returns 1 when all shards are open to that term; else 0.
local all = 1
for key = 1, #KEYS, 2 do
  if redis.call('GET', KEYS[key]) == ARGV[1] then
    redis.call('SET', KEYS[key + 1], ARGV[1], 'PX', ARGV[2])
  else
    all = 0
  end
end
return all

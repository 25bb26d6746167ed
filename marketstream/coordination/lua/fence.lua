-- Opens a shard for a term and closes it for all earlier ones.
--
-- KEYS: the term that may publish. ARGV: the term that begins. Returns the term that may publish now.
local current = redis.call('GET', KEYS[1])
if not current or tonumber(current) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1])
  return ARGV[1]
end
return current

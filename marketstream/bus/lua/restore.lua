-- Gives last values of one shard back to a Redis that lost them, each with the cursor it had.
--
-- KEYS: as the first four of a shard in publish.lua.
-- ARGV: the newest cursor the caller has seen, then field and value (cursor and frame) in turn.
-- Returns how many were not there, or older. A value that is as new as the one given is left as it is, so
-- any number of processes may do this at once. If there was any, an empty message says: ask again.
local fields = {}
for index = 2, #ARGV, 2 do
  fields[#fields + 1] = ARGV[index]
end
local known = redis.call('HMGET', KEYS[1], unpack(fields))
local stored = {}
for number, field in ipairs(fields) do
  local value, old = ARGV[number * 2 + 1], known[number]
  local older = old and struct.unpack('>I8', old, 15) > struct.unpack('>I8', value, 15)
  if not older and (not old or struct.unpack('>I8', old) < struct.unpack('>I8', value)) then
    stored[#stored + 1] = field
    stored[#stored + 1] = value
  end
end
if #stored == 0 then
  return 0
end
redis.call('HSET', KEYS[1], unpack(stored))
for index = 2, 3 do
  if tonumber(redis.call('GET', KEYS[index]) or '0') < tonumber(ARGV[1]) then
    redis.call('SET', KEYS[index], ARGV[1])
  end
end
local cursor = tonumber(redis.call('GET', KEYS[2]))
local publish = KEYS[2] == KEYS[3] and 'SPUBLISH' or 'PUBLISH'
redis.call(publish, KEYS[4], struct.pack('>BI8I8I4', 1, cursor + 1, cursor, 0))
return #stored / 2

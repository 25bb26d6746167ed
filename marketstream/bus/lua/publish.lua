-- Stamps, stores and publishes the frames of one shard in one step.
--
-- KEYS: last values, the shard's cursor, the cursor of all, the shard's channel, the term that may publish.
--   In a cluster there is no cursor of all: the shard's own stands there, and the channel is a sharded one.
-- ARGV: the newest cursor the caller has seen, the term it publishes in, then field and frame in turn.
--   No term: it holds no office and is let through. No field: the frame is not stored.
-- Returns the cursor of the last frame and the numbers of the frames that were left out because a newer one
-- of their field is there; nothing at all when another term has begun, and then nothing was done.
--
-- Cursors are the server's time in microseconds. They never go back, not when its clock does, and not when
-- it lost its memory: then the caller remembers. Numbers are exact up to the year 2255.
if ARGV[2] ~= '' and redis.call('GET', KEYS[5]) ~= ARGV[2] then
  return {}
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local previous = tonumber(redis.call('GET', KEYS[2]) or '0')
local newest = tonumber(redis.call('GET', KEYS[3]) or '0')
local first = math.max(now, previous + 1, newest + 1, tonumber(ARGV[1]) + 1)
local fields = {}
for index = 3, #ARGV, 2 do
  fields[#fields + 1] = ARGV[index]
end
local known = #fields > 0 and redis.call('HMGET', KEYS[1], unpack(fields)) or {}
local stored, frames, late = {}, {}, {}
for number, field in ipairs(fields) do
  local frame, old = ARGV[number * 2 + 2], known[number]
  -- The source time of a frame is its seventh to fourteenth byte; a stored one has its cursor in front.
  if old and struct.unpack('>I8', frame, 7) < struct.unpack('>I8', old, 15) then
    late[#late + 1] = number
  else
    frames[#frames + 1] = frame
    if field ~= '' then
      stored[#stored + 1] = field
      stored[#stored + 1] = struct.pack('>I8', first + #frames - 1) .. frame
    end
  end
end
if #stored > 0 then
  redis.call('HSET', KEYS[1], unpack(stored))
end
local last = string.format('%.0f', first + #frames - 1)
if #frames > 0 then
  redis.call('SET', KEYS[2], last)
  redis.call('SET', KEYS[3], last)
  local publish = KEYS[2] == KEYS[3] and 'SPUBLISH' or 'PUBLISH'
  redis.call(publish, KEYS[4], struct.pack('>BI8I8I4', 1, first, previous, #frames) .. table.concat(frames))
end
return {last, unpack(late)}

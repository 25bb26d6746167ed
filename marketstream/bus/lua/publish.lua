-- Stamps, stores and publishes the frames of one shard in one step.
--
-- KEYS: last values, the shard's cursor, the cursor of all, the shard's channel.
-- ARGV: the newest cursor the caller has seen, then field and frame in turn; no field: it is not stored.
-- Returns the cursor of the last frame.
--
-- Cursors are the server's time in microseconds. They never go back, not when its clock does, and not when
-- it lost its memory: then the caller remembers. Numbers are exact up to the year 2255.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local previous = tonumber(redis.call('GET', KEYS[2]) or '0')
local newest = tonumber(redis.call('GET', KEYS[3]) or '0')
local first = math.max(now, previous + 1, newest + 1, tonumber(ARGV[1]) + 1)
local count = (#ARGV - 1) / 2
local stored, frames = {}, {}
for index = 1, count do
  local field, frame = ARGV[index * 2], ARGV[index * 2 + 1]
  frames[index] = frame
  if field ~= '' then
    stored[#stored + 1] = field
    stored[#stored + 1] = struct.pack('>I8', first + index - 1) .. frame
  end
end
if #stored > 0 then
  redis.call('HSET', KEYS[1], unpack(stored))
end
local last = string.format('%.0f', first + count - 1)
redis.call('SET', KEYS[2], last)
redis.call('SET', KEYS[3], last)
redis.call('PUBLISH', KEYS[4], struct.pack('>BI8I8I4', 1, first, previous, count) .. table.concat(frames))
return last

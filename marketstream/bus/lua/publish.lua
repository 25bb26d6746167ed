-- Stamps, stores and publishes the frames of some shards in one step.
--
-- KEYS: for each shard its last values, its cursor, the cursor of all, its channel, the term that may publish.
--   In a cluster there is no cursor of all: the shard's own stands there, and the channel is a sharded one.
-- ARGV: the newest cursor the caller has seen, the term it publishes in, then for each shard the number of its
--   frames, and field and frame in turn. No term: it holds no office and is let through. No field: the frame
--   is not stored.
-- Returns for each shard the cursor of its last frame and the numbers of the frames that were left out because
-- a newer one of their field is there; nothing when another term has begun, and then nothing was done.
--
-- Cursors are the server's time in microseconds. They never go back, not when its clock does, and not when
-- it lost its memory: then the caller remembers. Numbers are exact up to the year 2255.
local time = redis.call('TIME')
local now = math.max(time[1] * 1000000 + time[2], tonumber(ARGV[1]) + 1)

local function publish(key, start, count)
  if ARGV[2] ~= '' and redis.call('GET', KEYS[key + 4]) ~= ARGV[2] then
    return {}
  end
  local previous = tonumber(redis.call('GET', KEYS[key + 1]) or '0')
  local newest = tonumber(redis.call('GET', KEYS[key + 2]) or '0')
  local first = math.max(now, previous + 1, newest + 1)
  local fields = {}
  for number = 1, count do
    fields[number] = ARGV[start + number * 2 - 2]
  end
  local known = count > 0 and redis.call('HMGET', KEYS[key], unpack(fields)) or {}
  local stored, frames, late = {}, {}, {}
  for number, field in ipairs(fields) do
    local frame, old = ARGV[start + number * 2 - 1], known[number]
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
    redis.call('HSET', KEYS[key], unpack(stored))
  end
  local last = string.format('%.0f', first + #frames - 1)
  if #frames > 0 then
    redis.call('SET', KEYS[key + 1], last)
    redis.call('SET', KEYS[key + 2], last)
    local send = KEYS[key + 1] == KEYS[key + 2] and 'SPUBLISH' or 'PUBLISH'
    redis.call(send, KEYS[key + 3], struct.pack('>BI8I8I4', 1, first, previous, #frames) .. table.concat(frames))
  end
  return {last, unpack(late)}
end

local replies, start = {}, 3
for key = 1, #KEYS, 5 do
  local count = tonumber(ARGV[start])
  replies[#replies + 1] = publish(key, start + 1, count)
  start = start + 1 + count * 2
end
return replies

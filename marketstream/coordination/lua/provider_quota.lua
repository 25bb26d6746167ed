-- Counts one question to a provider, if it may be asked, and by whom it is asked.
--
-- KEYS: the quota of the provider, a hash: `until` (epoch milliseconds until which it wants no question),
-- `minute` and `day` (numbers of the minute and the day since the epoch), `in_minute` and `in_day` (what was
-- asked in them). Behind it such a hash for each share of it that the question counts against too.
-- ARGV: for each of them the questions allowed in a minute, on a day; 0 allows any number.
-- Returns 0 and 0 when it may be asked, else the milliseconds until a question will, and the number of the key
-- that is the reason; nothing was counted then.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local minute, day = math.floor(now / 60000), math.floor(now / 86400000)
local counts = {}
for number, key in ipairs(KEYS) do
  local per_minute, per_day = tonumber(ARGV[number * 2 - 1]), tonumber(ARGV[number * 2])
  local known = redis.call('HMGET', key, 'until', 'minute', 'in_minute', 'day', 'in_day')
  local in_minute = tonumber(known[2] or -1) == minute and tonumber(known[3]) or 0
  local in_day = tonumber(known[4] or -1) == day and tonumber(known[5]) or 0
  local wait = tonumber(known[1] or 0) - now
  if per_minute > 0 and in_minute >= per_minute then
    wait = math.max(wait, (minute + 1) * 60000 - now)
  end
  if per_day > 0 and in_day >= per_day then
    wait = math.max(wait, (day + 1) * 86400000 - now)
  end
  if wait > 0 then
    return {wait, number}
  end
  counts[number] = {in_minute + 1, in_day + 1}
end
for number, key in ipairs(KEYS) do
  local in_minute, in_day = unpack(counts[number])
  redis.call('HSET', key, 'minute', minute, 'in_minute', in_minute, 'day', day, 'in_day', in_day)
  redis.call('PEXPIREAT', key, (day + 1) * 86400000)
end
return {0, 0}

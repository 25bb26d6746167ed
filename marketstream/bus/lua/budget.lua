-- Counts one question to a provider, if it may be asked.
--
-- KEYS: the budget of the provider, a hash: `until` (epoch milliseconds until which it wants no question),
-- `minute` and `day` (numbers of the minute and the day since the epoch), `in_minute` and `in_day` (what was
-- asked in them).
-- ARGV: questions allowed in a minute, on a day; 0 allows any number.
-- Returns 0 when it may be asked, else the milliseconds until a question will; nothing was counted then.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local per_minute, per_day = tonumber(ARGV[1]), tonumber(ARGV[2])
local minute, day = math.floor(now / 60000), math.floor(now / 86400000)
local known = redis.call('HMGET', KEYS[1], 'until', 'minute', 'in_minute', 'day', 'in_day')
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
  return wait
end
redis.call('HSET', KEYS[1], 'minute', minute, 'in_minute', in_minute + 1, 'day', day, 'in_day', in_day + 1)
redis.call('PEXPIREAT', KEYS[1], (day + 1) * 86400000)
return 0

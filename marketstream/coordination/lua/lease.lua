-- Takes or keeps the lease.
--
-- KEYS: who holds it, the newest term.
-- ARGV: who asks, the term it holds ('' for none), milliseconds until it ends unless it is kept.
-- Returns the asker's term as text; '' when somebody else holds the lease, or held it since that term.
-- Who finds that nobody held it meanwhile, goes on in the same term.
--
-- A term is the server's time in microseconds when it began, and always greater than the one before. So it is
-- another one also when Redis lost its memory in between.
local holder = redis.call('GET', KEYS[1])
local newest = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then
  return ''
end
if ARGV[2] ~= '' and newest and newest ~= ARGV[2] then
  return ''
end
local term = newest
if not newest or newest ~= ARGV[2] then
  local time = redis.call('TIME')
  term = string.format('%.0f', math.max(time[1] * 1000000 + time[2], tonumber(newest or '0') + 1))
  redis.call('SET', KEYS[2], term)
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return term

-- Keeps a subscription to events, if its user has room for it.
--
-- KEYS: the user's subscriptions.
-- ARGV: name, filter, names that a user may hold.
-- Returns 1 if it is kept, else 0.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1

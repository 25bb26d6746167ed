-- Sends an event to every process, unless it was sent before: its id is noted if and only if it is sent.
--
-- KEYS: the key that stands for its id.
-- ARGV: seconds for which the id is known, channel, message.
-- Returns 1 if it was sent, else 0.
if not redis.call('SET', KEYS[1], '', 'NX', 'EX', ARGV[1]) then
  return 0
end
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1

-- Raises the floor of a bucket above every number that was granted in it.
--
-- KEYS  1 the floor       ARGV  1 how long it is kept

local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local floor = tonumber(redis.call('GET', KEYS[1]) or 0)
-- Is allowed when the memory of the server is full, and makes the next write allowed.
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', math.max(floor, micros)), 'PX', ARGV[1])
return 1

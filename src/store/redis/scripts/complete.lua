-- ARGV  3 token       4 fingerprint       5 window       6 cooldown       7 sealed answer, or empty

local token, fingerprint, window, cooldown = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])

if fields.o ~= token then
    -- The reply to an earlier call may have been lost.
    return fields.d == token and 1 or 0
end
allow_writes()
put('d', token)
put('p', nil)
put('c', cooldown > 0 and text(now + cooldown) or nil)
if fields.x or window <= 0 then
    drop_marks(fields.n)
else
    prune(fingerprint)
    put_memory(fingerprint, 'p', now + window, fields.n)
    if ARGV[7] ~= '' then
        redis.call('HSET', KEYS[2], fingerprint, ARGV[7])
    end
end
end_claim()
commit(lease_end)
return 1

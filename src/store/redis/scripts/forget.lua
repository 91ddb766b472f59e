-- ARGV  3 scope: p the peer, o one offer, c one claim       4 fingerprint       5 number
--       6 channel of all nodes       7 start of the notice, before the number       8 its end

local scope, fingerprint, number = ARGV[3], ARGV[4], ARGV[5]
local is_known = 0
allow_writes()

if scope == 'p' then
    if fields.o or tonumber(fields.c or 0) > now then
        is_known = 1
    end
    for _, known in pairs(memories()) do
        if known.till > now then
            is_known = 1
        end
    end
    wake()
    redis.call('DEL', KEYS[1], KEYS[2])
else
    if scope == 'o' then
        local value = fields['m' .. fingerprint]
        local known = value and memory(value)
        if known then
            if known.kind == 'p' and known.till > now then
                drop_marks(known.number)
            end
            drop_memory(fingerprint)
            is_known = known.till > now and 1 or 0
        end
        if fields.f == fingerprint then
            drop_marks(fields.n)
            end_claim()
            is_known = 1
        end
    elseif fields.o and fields.n == number then
        put('x', '1')
        is_known = 1
    else
        for offer, known in pairs(memories()) do
            if known.number == number and (known.kind == 's' or offer == fingerprint) then
                drop_memory(offer)
                is_known = known.till > now and 1 or is_known
            end
        end
    end
    if fields.n then
        commit(kept_until())
    end
end

redis.call('PUBLISH', ARGV[6], ARGV[7] .. text(math.max(last, floor, micros)) .. ARGV[8])
return is_known

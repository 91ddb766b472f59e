-- ARGV  3 token       4 lease       5 set if the claim is abandoned

if fields.o ~= ARGV[3] then
    return 0
end
allow_writes()
local lease, is_abandoned = tonumber(ARGV[4]), ARGV[5] ~= ''
put('l', text(now + lease))
put('a', is_abandoned and '1' or nil)
if is_abandoned then
    wake()
end
commit(now + 2 * lease)
return 1

-- What Redis keeps of queues may be damaged, by somebody's hand or a fault of ours: what is whole, and how the rest is
-- mended.  Stands in the middle of `queues.lua`, whose words it uses: what operations read, they read through `readable`.

local DOING = {}
for _, doing in pairs(AGENT) do DOING[doing] = true end

local function is_name(text) return type(text) == 'string' and #text <= 200 and string.find(text, '^[%w_%-]+$') ~= nil end

local function is_text(text) return type(text) == 'string' and #text <= 100000 end

local function is_number(number) return type(number) == 'number' and number >= 0 and number < LATEST end

local function is_moment(number) return is_number(number) and number <= now end

local function is_flag(flag) return flag == nil or type(flag) == 'boolean' end

-- Whether each of these fields is such.
local function has(record, is, ...)
    for _, field in ipairs({...}) do
        if not is(record[field]) then return false end
    end
    return true
end

local function whole_member(queue, member)
    return is_name(queue) and type(member) == 'table' and has(member, is_number, 'level', 'opens', 'index')
        and member.level < 100 and is_text(member.skills)
        and is_text(member.strategy) and STRATEGIES[member.strategy] == member.by
end

-- Whether this is an agent, with everything that an agent has.
local function whole_agent(name, agent)
    if not string.find(name, '^%d+$') or type(agent) ~= 'table' or not CALLED[agent.duty] or not DOING[agent.doing]
        or not has(agent, is_text, 'why', 'by', 'call', 'leg', 'queue', 'caller', 'switch', 'last')
        or not has(agent, is_moment, 'since', 'duty_since', 'asked', 'idle', 'last_at')
        or not has(agent, is_number, 'till', 'offer', 'misses', 'calls', 'talk', 'wrap_up')
        or not has(agent, is_flag, 'free', 'hours', 'taken_up') or not is_number(agent.missed or 0)
        or agent.till > now + LONGEST
        or type(agent.elsewhere) ~= 'table' or type(agent.queues) ~= 'table' then
        return false
    end
    for queue, member in pairs(agent.queues) do
        if not whole_member(queue, member) then return false end
    end
    for uuid, switch in pairs(agent.elsewhere) do
        if not is_name(uuid) or not is_text(switch) then return false end
    end
    if agent.doing == 'elsewhere' and not next(agent.elsewhere) then return false end
    return (agent.till > 0) == (agent.doing ~= 'idle' and agent.doing ~= 'elsewhere')
end

local function whole_caller(call, caller)
    if not is_name(call) or type(caller) ~= 'table' or not is_name(caller.queue) or not WAITING[caller.standing .. ' enter']
        or not is_text(caller.need) or not has(caller, is_number, 'priority', 'first')
        or not has(caller, is_text, 'owner', 'switch', 'caller') or not is_moment(caller.joined)
        or type(caller.offers) ~= 'table' or not is_flag(caller.together)
        or type(caller.levels or {}) ~= 'table' then
        return false
    end
    if caller.priority ~= math.floor(caller.priority) or caller.priority >= 1000 then return false end
    for name, offer in pairs(caller.offers) do
        if not is_name(name) or not is_number(offer) then return false end
    end
    for _, seconds in ipairs(caller.levels or {}) do
        if not is_number(seconds) then return false end
    end
    return (next(caller.offers) ~= nil) == (caller.standing == 'offered')
end

local function agent_stands(name, agent)
    local free = agent.duty == 'on' and agent.doing == 'idle'
    if free ~= agent.free then return false end
    if agent.till > 0 and not redis.call('ZSCORE', DUE, company .. '/' .. name) then return false end
    for queue, member in pairs(agent.queues) do
        local set = P .. 'free:' .. queue .. ':' .. member.skills
        if redis.call('SISMEMBER', P .. 'queues', queue) == 0
            or redis.call('SISMEMBER', P .. 'skills:' .. queue, member.skills) == 0
            or (redis.call('ZSCORE', set, name) ~= false) ~= free
            or (redis.call('SISMEMBER', P .. 'on:' .. queue, name) == 1) ~= (agent.duty ~= 'out')
            or (redis.call('SISMEMBER', P .. 'paused:' .. queue, name) == 1) ~= (agent.duty == 'paused') then
            return false
        end
    end
    return true
end

local function caller_stands(call, caller)
    local bucket = caller.priority .. ' ' .. caller.need
    local looks = room(caller) > 0
    return redis.call('SISMEMBER', P .. 'priorities:' .. caller.queue, caller.priority) == 1
        and redis.call('ZSCORE', P .. 'line:' .. caller.queue .. ':' .. caller.priority, call) ~= false
        and (redis.call('ZSCORE', P .. 'seek:' .. caller.queue .. ':' .. bucket, call) ~= false) == looks
        and (not looks or redis.call('SISMEMBER', P .. 'seeks:' .. caller.queue, bucket) == 1)
end

-- Whether those who stand in the sets of some queues belong there: a few of each, and others the next time.
local function sets_stand()
    local known = {[agent_of] = {}, [caller_of] = {}}
    local left = {[agent_of] = LOOKED, [caller_of] = LOOKED}
    local function all(command, set, who, belongs)
        for _, name in ipairs(redis.call(command, set, SAMPLED)) do
            local one = known[who][name]
            if one == nil then
                if left[who] == 0 then return true end
                left[who] = left[who] - 1
                one = who(name) or false
                known[who][name] = one
            end
            if not one or not belongs(one) then return false end
        end
        return true
    end
    -- Each set of a family: its part of the name must be such, and some of its members belong there.
    local function family(names, their, pattern, who, belongs)
        for _, part in ipairs(redis.call('SMEMBERS', names)) do
            if not string.find(part, pattern) then return false end
        end
        for _, part in ipairs(redis.call('SRANDMEMBER', names, SAMPLED)) do
            if not all('ZRANDMEMBER', their .. part, who, function(one) return belongs(one, part) end) then return false end
        end
        return true
    end
    for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
        if not is_name(queue) then return false end
    end
    local queues = redis.call('SRANDMEMBER', P .. 'queues', SAMPLED)
    for i = 1, #queues do
        local queue = queues[(i + now) % #queues + 1]
        local function is_on(agent) return agent.queues[queue] and agent.duty ~= 'out' end
        local function is_free(agent, skills)
            return agent.free and agent.queues[queue] and agent.queues[queue].skills == skills
        end
        local function is_in_line(caller, priority)
            return caller.queue == queue and tostring(caller.priority) == priority
        end
        local function is_looked_for(caller, bucket)
            return caller.queue == queue and room(caller) > 0 and caller.priority .. ' ' .. caller.need == bucket
        end
        local skills, words = '^[%w_%-%+]*$', '^%d+ [%w_%-%+]*$'
        if not all('SRANDMEMBER', P .. 'on:' .. queue, agent_of, is_on)
            or not all('SRANDMEMBER', P .. 'paused:' .. queue, agent_of, is_on)
            or not family(P .. 'skills:' .. queue, P .. 'free:' .. queue .. ':', skills, agent_of, is_free)
            or not family(P .. 'priorities:' .. queue, P .. 'line:' .. queue .. ':', '^%d+$', caller_of, is_in_line)
            or not family(P .. 'seeks:' .. queue, P .. 'seek:' .. queue .. ':', words, caller_of, is_looked_for) then
            return false
        end
    end
    return true
end

-- Somebody who is not free is not found free either: else they would be again and again.
local function not_found_free(name, queue)
    for _, skills in ipairs(redis.call('SMEMBERS', P .. 'skills:' .. queue)) do
        if redis.call('ZSCORE', P .. 'free:' .. queue .. ':' .. skills, name) then
            error('damaged: agent ' .. name .. ' is not free')
        end
    end
end

-- Whatever the key is, it is of this kind afterwards, or nothing.
local function only(key, kind)
    local is = redis.call('TYPE', key).ok
    if is ~= 'none' and is ~= kind then
        redis.call('DEL', key)
        answer.gone[#answer.gone + 1] = key
    end
end

-- The records of a hash that are whole, by name; the others are none any more.
local function readable(key, is_whole, mended)
    only(key, 'hash')
    local found, all = {}, redis.call('HGETALL', key)
    for i = 1, #all, 2 do
        local name = all[i]
        local read, record = pcall(cjson.decode, all[i + 1])
        if read then pcall(mended, record) end
        if read and select(2, pcall(is_whole, name, record)) == true then
            found[name] = record
        else
            redis.call('HDEL', key, name)
            answer.gone[#answer.gone + 1] = key .. ' ' .. name
        end
    end
    return found
end

-- Something was damaged: what can be read stays, the rest goes, and every set is made anew.  Every process hears it and
-- tells again what it knows of the company.  `operation`: one whose answer cannot be read either.
function does.mend()
    answer.gone = {}
    only(DUE, 'zset')
    only(PROCESSES, 'zset')
    only('cordboard:queue-companies', 'set')
    if company == '' then return end
    redis.call('DEL', P .. 'done:' .. args.operation, P .. 'enrolled')
    local agents = readable(P .. 'agents', whole_agent, function(agent)
        for _, field in ipairs({'since', 'duty_since', 'asked', 'idle', 'last_at'}) do
            agent[field] = math.min(agent[field], now)
        end
        if agent.doing == 'elsewhere' and not next(agent.elsewhere) then agent.doing = 'idle' end
        if agent.doing == 'idle' or agent.doing == 'elsewhere' then
            agent.till = 0
        elseif agent.till <= 0 or agent.till > now + LONGEST then
            agent.till = now
        end
    end)
    local callers = readable(P .. 'callers', whole_caller, function(caller)
        caller.joined = math.min(caller.joined, now)
        if caller.standing ~= 'stalled' then caller.standing = next(caller.offers) and 'offered' or 'waiting' end
    end)
    local queues = {}
    only(P .. 'queues', 'set')
    for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do queues[queue] = true end
    for _, agent in pairs(agents) do
        for queue in pairs(agent.queues) do queues[queue] = true end
    end
    for _, caller in pairs(callers) do queues[caller.queue] = true end
    for queue in pairs(queues) do
        for set, their in pairs({seeks = 'seek:', priorities = 'line:', skills = 'free:'}) do
            local known = redis.pcall('SMEMBERS', P .. set .. ':' .. queue)
            for _, one in ipairs(known.err and {} or known) do redis.call('DEL', P .. their .. queue .. ':' .. one) end
            redis.call('DEL', P .. set .. ':' .. queue)
        end
        redis.call('DEL', P .. 'on:' .. queue, P .. 'paused:' .. queue)
    end
    redis.call('DEL', P .. 'queues')
    for name, agent in pairs(agents) do
        local caller = callers[agent.call]
        if agent.doing == 'offered' and not (caller and caller.offers[name] == agent.offer) then
            becomes(agent, 'withdraw')
        end
    end
    for call, caller in pairs(callers) do
        for name, offer in pairs(caller.offers) do
            local agent = agents[name]
            if not (agent and agent.doing == 'offered' and agent.call == call and agent.offer == offer) then
                caller.offers[name] = nil
            end
        end
        if caller.standing == 'offered' and not next(caller.offers) then stands(caller, 'unoffer') end
        redis.call('DEL', P .. 'line:' .. caller.queue .. ':' .. caller.priority)
        redis.call('DEL', P .. 'seek:' .. caller.queue .. ':' .. caller.priority .. ' ' .. caller.need)
    end
    for name, agent in pairs(agents) do
        for queue, member in pairs(agent.queues) do
            redis.call('DEL', P .. 'free:' .. queue .. ':' .. member.skills)
        end
    end
    for name, agent in pairs(agents) do
        for queue, member in pairs(agent.queues) do
            redis.call('SADD', P .. 'queues', queue)
            redis.call('SADD', P .. 'skills:' .. queue, member.skills)
            if agent.duty ~= 'out' then redis.call('SADD', P .. 'on:' .. queue, name) end
            if agent.duty == 'paused' then redis.call('SADD', P .. 'paused:' .. queue, name) end
        end
        agent.free = false
        if not is_text(agent.told) then agent.told = nil end
        keep(agent, name)
    end
    for call, caller in pairs(callers) do
        redis.call('ZADD', P .. 'line:' .. caller.queue .. ':' .. caller.priority, caller.joined, call)
        redis.call('SADD', P .. 'priorities:' .. caller.queue, caller.priority)
        hold(caller, call)
    end
    freed, seeking, timers = {}, {}, {}
    wake_all({['do'] = 'mended'})
end

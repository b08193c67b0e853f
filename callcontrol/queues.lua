-- Queues in Redis: every transition of an agent or a waiting caller, one call of this script each.
--
-- ARGV: what is done, the operation's id ("" if to do it twice does no harm), the company, the arguments as JSON.
-- Answers JSON: {done, why, …, agents, calls, timers}.  `agents` are those who became free and could serve somebody,
-- `calls` callers who look for an agent and could have one: whoever did this decides on them (queueing.py) and claims.
--
-- cordboard:queue:<company>:agents           hash: extension -> JSON: duty, doing, since when, until when, offer, counts
--   :callers                                 hash: call -> JSON: queue, priority, need, joined, owner, offers
--   :line:<queue>:<priority>                 sorted set: every caller who waits, by joining time
--   :priorities:<queue>                      set: the priorities that have a line
--   :seek:<queue>:<priority> <need>          sorted set: those of them for whom an agent is looked for
--   :seeks:<queue>                           set: "<priority> <need>" that have such
--   :free:<queue>:<skills>                   sorted set: free agents, the one to be asked first at the front
--   :skills:<queue>                          set: the skills that agents of the queue have, as one word each
--   :on:<queue>, :paused:<queue>             sets: agents who are there, and who are there and have paused
--   :queues                                  set: queues that have agents
--   :enrolled                                version of the memberships
--   :facts                                   how many facts this has told of the company
--   :done:<operation>                        what an operation answered, for a minute
-- cordboard:queue-companies                  set
-- cordboard:queue-due                        sorted set: "<company>/<extension>" -> when something of theirs ends
-- cordboard:queue-processes                  sorted set: process -> until when it is taken to live
-- cordboard:queue-clock                      text: the latest time, and how far it is ahead of the machine's clock
-- cordboard:queue-generation                 text: made when there is none; another one: everything was lost
-- cordboard:wake:<process>                   list: what that process should know now
--
-- Times are milliseconds of Redis's own clock, which here never goes back: when the machine's does, it stands still once
-- and goes on from there, or leases would not end and levels not open for as long.  Only facts tell the machine's time.
-- The tables AGENT, DUTY and WAITING stand before this text.  The surprises: JSON numbers written by Lua have 14 digits,
-- which is enough for milliseconds and for nothing finer.  And what is kept may be damaged (somebody's hand, a fault of
-- ours): an operation that meets it stops with an error, in the middle, and `mend` makes a whole of what can be read
-- (`queues_damage.lua`, which stands in this text where its name does).

local what, operation, company = ARGV[1], ARGV[2], ARGV[3]
local args = cjson.decode(ARGV[4])
local P = 'cordboard:queue:' .. company .. ':'
local DUE, PROCESSES, GENERATION = 'cordboard:queue-due', 'cordboard:queue-processes', 'cordboard:queue-generation'
local CLOCK = 'cordboard:queue-clock'
local LEVEL = 2 ^ 49
local NUMBER = 2 ^ 31
-- How many free agents are looked at for one caller, and in one settling.
local PAGE = 8
-- How many agents, or callers, are told of at a time; looked at besides, to see whether they and their sets are whole.
local SCANNED, EXAMINED = 200, 50
-- How many of a set are looked at to see whether it is whole, and how many agents, or callers, of all sets.
local SAMPLED, LOOKED = 8, 30
-- How long a claimed offer waits for its owner, a talk for being seen by a reconciler, a process for its next beat.
local CLAIMED, TALK, ALIVE = 3000, 600000, 7000
-- No moment is so late: what is damaged has any number in it.  Nothing that an agent is in lasts so long.
local LATEST, LONGEST = 10 ^ 14, 4 * 3600 * 1000
-- How long wake-ups wait for a process that does not read them, and what an operation answered is known, seconds.
local WAKES, KNOWN = 60, 60

local function clock()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function whole(number) return string.format('%.0f', number) end

-- A text, or nothing: something else of that name will be written over.
local function text_at(key)
    local found = redis.pcall('GET', key)
    return type(found) == 'string' and found or nil
end

local wall = clock()
local now = wall
do
    local last, ahead = string.match(text_at(CLOCK) or '', '^(%d+) (%d+)$')
    last, ahead = tonumber(last or 0), tonumber(ahead or 0)
    if math.max(last, wall + ahead) >= LATEST then last, ahead = 0, 0 end
    now = math.max(wall + ahead, last)
    if now ~= last or now ~= wall + ahead then redis.call('SET', CLOCK, whole(now) .. ' ' .. whole(now - wall)) end
end

local answer = {done = true, why = ''}
-- Agents who became free, and callers who look for an agent, by this operation.
local freed, seeking, timers = {}, {}, {}

---------------------------------------------------------------------------------------------------- small things

local function covers(has, wanted)
    for skill in string.gmatch(wanted, '[^+]+') do
        if not string.find('+' .. has .. '+', '+' .. skill .. '+', 1, true) then return false end
    end
    return true
end

local function generation()
    local known = text_at(GENERATION)
    if not known or not string.find(known, '^%x+$') then
        known = string.sub(redis.sha1hex(whole(now) .. operation .. company .. ARGV[4]), 1, 12)
        redis.call('SET', GENERATION, known)
    end
    return known
end

local function tell(kind, data, switch)
    local n = redis.pcall('INCR', P .. 'facts')
    if type(n) ~= 'number' then  -- damaged: a number that no fact has had
        n = now
        redis.call('SET', P .. 'facts', whole(n))
    end
    local fact = cjson.encode({
        v = 1, type = kind, company = company, call = cjson.null, epoch = 0, n = n,
        p = 'queues-' .. company .. '-' .. generation(), at = wall / 1000, switch = switch, data = data,
    })
    redis.pcall('XADD', 'cordboard:facts', 'MAXLEN', '~', 1000000, '*', 'fact', fact)  -- whoever ships tells of damage
end

local function wake(process, message)
    local list = 'cordboard:wake:' .. process
    message.company = company
    if type(redis.pcall('RPUSH', list, cjson.encode(message))) ~= 'number' then
        redis.call('DEL', list)
        redis.call('RPUSH', list, cjson.encode(message))
    end
    redis.call('EXPIRE', list, WAKES)
end

-- Every process that lived within the hour hears it: when the clock has jumped, those who live seem dead for a moment.
local function wake_all(message)
    for _, process in ipairs(redis.call('ZRANGE', PROCESSES, 0, -1)) do wake(process, message) end
end

---------------------------------------------------------------------------------------------------- agents

local function agent_of(name)
    local text = redis.call('HGET', P .. 'agents', name)
    return text and cjson.decode(text) or nil
end

local function rank(agent, name, member)
    local value = member.index
    if member.by == 'chance' then
        value = tonumber(string.sub(redis.sha1hex(name .. ' ' .. whole(agent.idle)), 1, 4), 16)
    elseif member.by ~= 'index' then
        value = agent[member.by]
    end
    if not MOMENTS[member.by] then
        value = math.min(value, MOST_COUNTED) * NUMBER + math.floor(agent.idle / 1000)
    end
    return member.level * LEVEL + value
end

local CALLED = {on = 'available', paused = 'paused', out = 'logged_out'}

-- What people call the state of an agent.
local function shown(agent)
    if agent.doing ~= 'idle' then return agent.doing end
    return CALLED[agent.duty]
end

local function index(agent, name, free)
    for queue, member in pairs(agent.queues) do
        local set = P .. 'free:' .. queue .. ':' .. member.skills
        if free then
            redis.call('ZADD', set, whole(rank(agent, name, member)), name)
        else
            redis.call('ZREM', set, name)
        end
    end
end

-- Keeps the agent, in every set where they belong, and tells what people see of the change.
local function keep(agent, name)
    local free = agent.duty == 'on' and agent.doing == 'idle'
    if free ~= agent.free then
        index(agent, name, free)
        agent.free = free
    end
    if free then freed[name] = true else freed[name] = nil end
    local due = company .. '/' .. name
    if agent.till > 0 then
        redis.call('ZADD', DUE, agent.till, due)
    else
        redis.call('ZREM', DUE, due)
    end
    timers[name] = agent.till > 0 and agent.till - now or nil
    local state = shown(agent)
    local told = state .. ' ' .. agent.duty .. ' ' .. agent.why
    if told ~= agent.told then
        local data = {agent = name, state = state, duty = agent.duty}
        if agent.told and string.match(agent.told, '^%S+ (.*)$') ~= agent.duty .. ' ' .. agent.why or state == 'paused' then
            if agent.why ~= '' then data.reason = agent.why end
            if agent.by ~= '' then data.by = agent.by end
        end
        if agent.queue ~= '' then data.queue = agent.queue end
        if agent.call ~= '' then data.call = agent.call end
        tell('agent.state', data, agent.switch)
        agent.told = told
    end
    if agent.doing == 'idle' and not next(agent.queues) then  -- left the routing while they did something
        freed[name] = nil
        redis.call('HDEL', P .. 'agents', name)
    else
        redis.call('HSET', P .. 'agents', name, cjson.encode(agent))
    end
end

-- What the agent does next; false: it came too late.
local function becomes(agent, event)
    local to = AGENT[agent.doing .. ' ' .. event]
    if not to then return false end
    if to == 'idle' and next(agent.elsewhere) then to = 'elsewhere' end
    if to == 'idle' and event ~= 'withdraw' then agent.idle = now end
    agent.doing, agent.since = to, now
    agent.till = 0
    if to ~= 'offered' and to ~= 'talking' then
        agent.call, agent.offer, agent.leg, agent.caller, agent.switch = '', 0, '', '', ''
        agent.taken_up = nil
        if to ~= 'wrap_up' then agent.queue = '' end
    end
    return true
end

local function staffed(queue)
    local on = redis.call('SCARD', P .. 'on:' .. queue)
    if on == 0 then return 'no_agents' end
    return on == redis.call('SCARD', P .. 'paused:' .. queue) and 'paused' or ''
end

-- Tells it when somebody, or nobody, can serve a queue from now on.
local function restaff(agent, name, change)
    local before = {}
    for queue in pairs(agent.queues) do before[queue] = staffed(queue) end
    change()
    for queue in pairs(agent.queues) do
        redis.call(agent.duty == 'out' and 'SREM' or 'SADD', P .. 'on:' .. queue, name)
        redis.call(agent.duty == 'paused' and 'SADD' or 'SREM', P .. 'paused:' .. queue, name)
    end
    for queue, was in pairs(before) do
        local is = staffed(queue)
        if is ~= was then
            wake_all({['do'] = 'staff', queue = queue, staffed = is})
        end
    end
end

---------------------------------------------------------------------------------------------------- callers

local function caller_of(call)
    local text = redis.call('HGET', P .. 'callers', call)
    return text and cjson.decode(text) or nil
end

local function count(offers)
    local found = 0
    for _ in pairs(offers) do found = found + 1 end
    return found
end

local function room(caller)
    if caller.standing == 'stalled' then return 0 end
    return (caller.together and MOST_TOGETHER or 1) - count(caller.offers)
end

-- Keeps the caller, and whether an agent is looked for.
local function hold(caller, call)
    local bucket = caller.priority .. ' ' .. caller.need
    local set = P .. 'seek:' .. caller.queue .. ':' .. bucket
    if room(caller) > 0 then
        redis.call('ZADD', set, caller.joined, call)
        redis.call('SADD', P .. 'seeks:' .. caller.queue, bucket)
        seeking[call] = true
    else
        redis.call('ZREM', set, call)
        if redis.call('EXISTS', set) == 0 then redis.call('SREM', P .. 'seeks:' .. caller.queue, bucket) end
        seeking[call] = nil
    end
    redis.call('HSET', P .. 'callers', call, cjson.encode(caller))
end

local function stands(caller, event)
    local to = WAITING[caller.standing .. ' ' .. event]
    if not to then return false end
    caller.standing = to
    return true
end

-- The caller's offer to this agent is none any more.
local function unoffer(call, name)
    local caller = caller_of(call)
    if not caller or not caller.offers[name] then return end
    caller.offers[name] = nil
    if not next(caller.offers) then stands(caller, 'unoffer') end
    hold(caller, call)
end

-- The agent is not rung any more, without any fault of theirs; their caller's owner hears it if `say`.
local function withdraw(agent, name, say)
    local call, offer = agent.call, agent.offer
    if not becomes(agent, 'withdraw') then return end
    local caller = caller_of(call)
    if say and caller then wake(caller.owner, {['do'] = 'gone', call = call, offer = offer, agent = name}) end
end

local function remove(caller, call)
    local line = P .. 'line:' .. caller.queue .. ':' .. caller.priority
    redis.call('ZREM', line, call)
    if redis.call('EXISTS', line) == 0 then redis.call('SREM', P .. 'priorities:' .. caller.queue, caller.priority) end
    local bucket = caller.priority .. ' ' .. caller.need
    local set = P .. 'seek:' .. caller.queue .. ':' .. bucket
    redis.call('ZREM', set, call)
    if redis.call('EXISTS', set) == 0 then redis.call('SREM', P .. 'seeks:' .. caller.queue, bucket) end
    redis.call('HDEL', P .. 'callers', call)
    seeking[call] = nil
    for name, offer in pairs(caller.offers) do
        local agent = agent_of(name)
        if agent and agent.call == call and agent.offer == offer and agent.doing == 'offered' then
            withdraw(agent, name, false)
            keep(agent, name)
        end
    end
end

---------------------------------------------------------------------------------------------------- looks

-- The first of each line that a free agent may serve.
local function heads(agent)
    local found = {}
    for queue, member in pairs(agent.queues) do
        for _, bucket in ipairs(redis.call('SMEMBERS', P .. 'seeks:' .. queue)) do
            local priority, wanted = string.match(bucket, '^(%d+) (.*)$')
            if covers(member.skills, wanted) then
                local head = redis.call('ZRANGE', P .. 'seek:' .. queue .. ':' .. bucket, 0, 0, 'WITHSCORES')
                if head[1] and redis.call('HEXISTS', P .. 'callers', head[1]) == 0 then
                    error('damaged: nobody is ' .. head[1])
                end
                if head[1] and tonumber(head[2]) + member.opens <= now then
                    found[#found + 1] = {head[1], queue, tonumber(priority), tonumber(head[2])}
                end
            end
        end
    end
    return found
end

-- The free agents who may serve a caller now, those to be asked first among them.  Agents of one level of a queue may
-- all be asked, or none of them; a level that is not open yet is passed over whole, however many are free in it.
-- `page`: how many at most.
local function candidates(caller, page)
    local set = P .. 'free:' .. caller.queue .. ':'
    local agents, closed, ranked = {}, {}, {}
    for _, skills in ipairs(redis.call('SMEMBERS', P .. 'skills:' .. caller.queue)) do
        local from = covers(skills, caller.need) and '-inf'
        while from do
            local some = redis.call('ZRANGEBYSCORE', set .. skills, from, '+inf', 'WITHSCORES', 'LIMIT', 0, page)
            from = false
            for i = 1, #some, 2 do
                local name, score = some[i], tonumber(some[i + 1])
                local level = math.floor(score / LEVEL)
                if closed[level] == nil then
                    agents[name] = agent_of(name)
                    closed[level] = caller.joined + agents[name].queues[caller.queue].opens > now
                end
                if closed[level] then
                    from = whole((level + 1) * LEVEL)
                    break
                end
                ranked[#ranked + 1] = {name, score}
            end
        end
    end
    table.sort(ranked, function(one, other)
        if one[2] ~= other[2] then return one[2] < other[2] end
        return one[1] < other[1]
    end)
    local found, strategy = {}, ''
    for i = 1, math.min(page, #ranked) do
        local name = ranked[i][1]
        local agent = agents[name] or agent_of(name)
        local member = agent.queues[caller.queue]
        found[i] = {name, member.level, member.index, agent.idle, agent.asked, agent.calls, agent.talk}
        strategy = member.strategy
    end
    return found, strategy
end

-- Seconds until agents of a further level may be asked for the caller; 0: there is none.
local function opens(caller)
    local waited = (now - caller.joined) / 1000
    for _, seconds in ipairs(caller.levels or {}) do
        if seconds > waited then return seconds - waited end
    end
    return 0
end

local function look_for_agent(name)
    local agent = agent_of(name)
    if not agent or not agent.free then return end
    local found = heads(agent)
    if #found > 0 then answer.agents[#answer.agents + 1] = {name, found} end
end

local function look_for_caller(call)
    local caller = caller_of(call)
    if not caller or room(caller) <= 0 then return end
    local found, strategy = candidates(caller, math.max(PAGE, room(caller)))
    if #found > 0 then
        answer.calls[#answer.calls + 1] = {call, caller.queue, strategy, room(caller), found}
    end
end

---------------------------------------------------------------------------------------------------- operations

local does = {}

-- <queues_damage.lua>

local function too_late(why)
    answer.done, answer.why = false, why
end

-- Whether the caller stands where they want to enter.
local function same(caller)
    return caller.queue == args.queue and caller.priority == args.priority and caller.need == args.need
end

function does.enter()
    local call, caller = args.call, caller_of(args.call)
    local enrolled = redis.call('GET', P .. 'enrolled')
    if not enrolled then  -- not remembered: it is asked again under the same id
        answer.unenrolled = true
        return too_late('unenrolled')
    end
    if caller and not same(caller) then
        remove(caller, call)
        args.first = math.max(args.first, caller.first)  -- numbers that the call may not have heard of are used up
        caller = nil
    end
    answer.staffed = staffed(args.queue)
    if not caller then
        if not args.again then
            if answer.staffed ~= '' and args.patience <= 0 then
                answer.outcome = answer.staffed
                return too_late(answer.staffed)
            end
            local total = 0
            for _, priority in ipairs(redis.call('SMEMBERS', P .. 'priorities:' .. args.queue)) do
                total = total + redis.call('ZCARD', P .. 'line:' .. args.queue .. ':' .. priority)
            end
            if args.most and total >= args.most then
                answer.outcome = 'full'
                return too_late('full')
            end
        end
        -- A time that has not come was told by a clock that was lost with everything else.
        local known = args.joined > 0 and args.joined <= now
        caller = {
            queue = args.queue, priority = args.priority, need = args.need, standing = 'gone', offers = {},
            joined = known and args.joined or now - args.waited, first = args.first,
        }
        redis.call('ZADD', P .. 'line:' .. args.queue .. ':' .. args.priority, caller.joined, call)
        redis.call('SADD', P .. 'priorities:' .. args.queue, args.priority)
        redis.call('SADD', 'cordboard:queue-companies', company)
    end
    caller.levels, caller.together, caller.first = args.levels, args.together, math.max(caller.first, args.first)
    caller.owner, caller.switch, caller.caller = args.owner, args.switch, args.caller
    stands(caller, 'enter')
    hold(caller, call)
    answer.joined, answer.offers, answer.opens = caller.joined, caller.offers, opens(caller)
end

function does.seek()
    local caller = caller_of(args.call)
    if not caller then return too_late('gone') end
    if room(caller) > 0 then seeking[args.call] = true end
    answer.opens = opens(caller)
end

function does.claim()
    local call, name = args.call, args.agent
    local caller, agent = caller_of(call), agent_of(name)
    -- Whatever is refused, whoever asked may have missed something better.
    if caller and room(caller) > 0 then seeking[call] = true end
    if agent and agent.free then freed[name] = true end
    if not caller or room(caller) <= 0 then return too_late('the caller has an agent, or has gone') end
    if not agent or not agent.free then
        if caller then not_found_free(name, caller.queue) end
        return too_late('the agent is not free any more')
    end
    local member = agent.queues[caller.queue]
    if not member or not covers(member.skills, caller.need) or caller.joined + member.opens > now then
        return too_late('the agent does not serve this caller now')
    end
    for _, head in ipairs(heads(agent)) do
        local other, priority, joined = head[1], head[3], head[4]
        if other ~= call and (priority > caller.priority or (priority == caller.priority and joined < caller.joined)) then
            seeking[other] = true
            return too_late('somebody is before this caller')
        end
    end
    local offer = caller.first
    caller.first = offer + 1
    caller.offers[name] = offer
    stands(caller, 'offer')
    becomes(agent, 'offer')
    agent.call, agent.offer, agent.queue, agent.asked, agent.till = call, offer, caller.queue, now, now + CLAIMED
    agent.caller, agent.switch = caller.caller, caller.switch
    hold(caller, call)
    keep(agent, name)
    seeking[call] = nil
    wake(caller.owner, {['do'] = 'offer', call = call, offer = offer, agent = name})
    answer.offer = offer
end

-- The agent if this offer is theirs and has not ended.
local function offered(states)
    local agent = agent_of(args.agent)
    if agent and agent.call == args.call and agent.offer == args.offer and states[agent.doing] then return agent end
    too_late('the offer has ended')
end

function does.rung()
    local agent = offered({offered = true})
    if not agent then return end
    agent.till, agent.taken_up = now + args.seconds, true
    keep(agent, args.agent)
end

function does.miss()
    local agent = offered({offered = true, talking = true})
    if not agent then return end  -- and if the caller has the agent again, that is another offer
    unoffer(args.call, args.agent)
    local name = args.agent
    if agent.doing == 'talking' then  -- answered, and was not joined: no call was taken, and misses go on counting
        agent.calls, agent.misses = math.max(0, agent.calls - 1), agent.missed or 0
    end
    if args.result == 'lost' then
        becomes(agent, 'withdraw')
    else
        becomes(agent, 'miss')
        agent.last, agent.last_at = args.result, now
        if args.delay > 0 then agent.till = now + args.delay else becomes(agent, 'rest') end
        if args.result ~= 'busy' then
            agent.misses = agent.misses + 1
            if args.pause_after and agent.misses >= args.pause_after and agent.duty == 'on' then
                restaff(agent, name, function()
                    agent.duty, agent.why, agent.by, agent.misses = 'paused', 'missed calls', 'cordboard', 0
                    agent.duty_since = now
                end)
            end
        end
    end
    keep(agent, name)
end

function does.take()
    local call, name = args.call, args.agent
    local agent, caller = agent_of(name), caller_of(call)
    if agent and agent.doing == 'talking' and (agent.call ~= call or agent.offer ~= args.offer) then
        return too_late('the agent talks with somebody else')
    end
    if agent and agent.doing ~= 'talking' then
        if agent.doing == 'offered' and (agent.call ~= call or agent.offer ~= args.offer) then
            local other, offer = agent.call, agent.offer
            withdraw(agent, name, true)
            keep(agent, name)
            unoffer(other, name)
        end
        becomes(agent, 'take')
        agent.calls, agent.missed, agent.misses, agent.last = agent.calls + 1, agent.misses, 0, ''
        agent.call, agent.offer, agent.caller = call, args.offer, args.caller
        agent.queue = caller and caller.queue or agent.queue
    end
    if agent then
        agent.leg, agent.switch, agent.wrap_up, agent.till = args.leg, args.switch, args.wrap_up, now + TALK
        keep(agent, name)
    end
    if caller then
        caller.offers[name] = nil
        remove(caller, call)
        -- Said late: the talk may be over, and the call wait anew with another process, which has it enter again.
        if args.owner ~= '' and args.owner ~= caller.owner then
            wake(caller.owner, {['do'] = 'again', call = call})
        end
    end
end

function does.leave()
    local caller = caller_of(args.call)
    if not caller then return too_late('gone') end
    remove(caller, args.call)
end

-- The owner of a caller who is passed over lives, and did not hear of it.
function does.remind()
    local caller = caller_of(args.call)
    if not caller or caller.standing ~= 'stalled' then return too_late('not stalled') end
    wake(caller.owner, {['do'] = 'again', call = args.call})
end

function does.place()
    local caller = caller_of(args.call)
    if not caller then return too_late('gone') end
    local place = 1
    for _, priority in ipairs(redis.call('SMEMBERS', P .. 'priorities:' .. caller.queue)) do
        local line = P .. 'line:' .. caller.queue .. ':' .. priority
        if tonumber(priority) > caller.priority then
            place = place + redis.call('ZCARD', line)
        elseif tonumber(priority) == caller.priority then
            place = place + redis.call('ZRANK', line, args.call)
        end
    end
    answer.place = place
end

function does.duty()
    local name = args.agent
    local agent = agent_of(name)
    if not agent then return too_late('nobody') end
    local to = DUTY[agent.duty .. ' ' .. args.what]
    answer.state = CALLED[to or agent.duty]
    if not to then return too_late('not_now') end
    local was = agent.duty
    if was ~= to then agent.duty_since = now end
    restaff(agent, name, function()
        agent.duty, agent.why, agent.by = to, to == 'on' and '' or args.reason, args.by
    end)
    if args.what == 'log_in' and was == 'out' then agent.calls, agent.talk, agent.misses = 0, 0, 0 end
    if to == 'on' and was ~= 'on' then agent.misses = 0 end
    if to == 'on' and was ~= 'on' and agent.doing == 'idle' then agent.idle = now end
    if args.hours ~= nil then agent.hours = args.hours end
    if to ~= 'on' and agent.doing == 'offered' then
        local call = agent.call
        withdraw(agent, name, true)
        keep(agent, name)
        unoffer(call, name)
    elseif to ~= 'on' and agent.doing == 'delayed' then
        becomes(agent, 'rest')
        keep(agent, name)
    else
        keep(agent, name)
    end
end

-- A leg or another call of the agent's has ended.
function does.hang_up()
    local name, uuid = args.agent, args.uuid
    local agent = agent_of(name)
    if not agent then return too_late('nobody') end
    local known = agent.elsewhere[uuid] ~= nil
    agent.elsewhere[uuid] = nil
    if agent.doing == 'talking' and agent.leg == uuid then
        agent.talk = agent.talk + math.floor((now - agent.since) / 1000 + 0.5)
        becomes(agent, 'hang_up')
        if (agent.wrap_up or 0) > 0 then agent.till = now + agent.wrap_up else becomes(agent, 'rest') end
    elseif agent.doing == 'elsewhere' and not next(agent.elsewhere) then
        becomes(agent, 'unbusy')
    elseif not known then
        return too_late('known already')
    end
    keep(agent, name)
end

function does.busy()
    local name = args.agent
    local agent = agent_of(name)
    if not agent then return too_late('nobody') end
    agent.elsewhere[args.uuid] = args.switch
    becomes(agent, 'busy')
    keep(agent, name)
end

-- What an agent is in has lasted as long as it may.
function does.rest()
    local name = args.agent
    local agent = agent_of(name)
    if not agent or agent.till <= 0 then
        redis.call('ZREM', DUE, company .. '/' .. name)
        return too_late(agent and 'not yet' or 'nobody')
    end
    if agent.till > now then
        redis.call('ZADD', DUE, agent.till, company .. '/' .. name)
        timers[name] = agent.till - now
        return too_late('not yet')
    end
    if agent.doing == 'talking' then  -- nobody has seen the leg for long: whoever asks looks for it
        answer.ask = {uuid = agent.leg, switch = agent.switch}
        agent.till = now + ALIVE
        keep(agent, name)
    elseif agent.doing == 'offered' then
        local call, taken_up = agent.call, agent.taken_up
        answer.expired = {call = call, taken_up = taken_up or false}
        withdraw(agent, name, true)
        keep(agent, name)
        local caller = caller_of(call)
        if caller then
            caller.offers[name] = nil
            if not next(caller.offers) then stands(caller, taken_up and 'unoffer' or 'stall') end
            hold(caller, call)
            if not taken_up then wake(caller.owner, {['do'] = 'again', call = call}) end
        end
    else
        becomes(agent, 'rest')
        keep(agent, name)
    end
end

function does.keep()
    local agent = agent_of(args.agent)
    if not agent or agent.doing ~= 'talking' or agent.leg ~= args.uuid then return too_late('not talking') end
    agent.till = now + TALK
    keep(agent, args.agent)
end

-- Who serves which queue, as routing says now.  Nobody's state changes.
function does.enrol()
    if redis.call('GET', P .. 'enrolled') == args.version then return end  -- another process was first
    local known = {}
    local queues = {}
    for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do queues[queue] = staffed(queue) end
    for _, name in ipairs(redis.call('HKEYS', P .. 'agents')) do
        local agent = agent_of(name)
        index(agent, name, false)
        local given = args.agents[name]
        agent.free = false
        agent.queues = given and given.queues or {}
        if given or agent.doing ~= 'idle' then
            known[name] = agent
        else
            redis.call('HDEL', P .. 'agents', name)
            redis.call('ZREM', DUE, company .. '/' .. name)
        end
    end
    for queue in pairs(queues) do
        redis.call('DEL', P .. 'on:' .. queue, P .. 'paused:' .. queue, P .. 'skills:' .. queue)
        redis.call('SREM', P .. 'queues', queue)
    end
    for name, given in pairs(args.agents) do
        local agent = known[name]
        if not agent then
            agent = {
                duty = given.on == false and 'out' or 'on', why = '', by = '', doing = 'idle', since = now, till = 0,
                duty_since = now, call = '', offer = 0, leg = '', queue = '', caller = '', switch = '', elsewhere = {},
                misses = 0, calls = 0, talk = 0, asked = 0, idle = now, last = '', last_at = 0, free = false,
                queues = given.queues, wrap_up = 0, hours = given.on,
            }
            known[name] = agent
        end
        for queue, member in pairs(given.queues) do
            queues[queue] = queues[queue] or 'no_agents'
            redis.call('SADD', P .. 'queues', queue)
            redis.call('SADD', P .. 'skills:' .. queue, member.skills)
            if agent.duty ~= 'out' then redis.call('SADD', P .. 'on:' .. queue, name) end
            if agent.duty == 'paused' then redis.call('SADD', P .. 'paused:' .. queue, name) end
        end
    end
    for name, agent in pairs(known) do keep(agent, name) end
    freed, timers = {}, {}
    for queue, was in pairs(queues) do
        local is = staffed(queue)
        if is ~= was then
            wake_all({['do'] = 'staff', queue = queue, staffed = is})
        end
    end
    redis.call('SET', P .. 'enrolled', args.version)
    redis.call('SADD', 'cordboard:queue-companies', company)
end

-- Free agents who could serve somebody, and whom nobody has brought together: those who may serve the first of a line;
-- if nobody may, nobody may serve those behind.
function does.settle()
    local most = PAGE
    for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
        for _, bucket in ipairs(redis.call('SMEMBERS', P .. 'seeks:' .. queue)) do
            local first = redis.call('ZRANGE', P .. 'seek:' .. queue .. ':' .. bucket, 0, 0)[1]
            for _, candidate in ipairs(most > 0 and candidates(caller_of(first), most) or {}) do
                if not freed[candidate[1]] then most = most - 1 end
                freed[candidate[1]] = true
            end
        end
    end
end

-- Visits some of the agents, or callers, beginning where the last page ended: all at once would keep everybody waiting.
local function some(visit)
    local page = redis.call('HSCAN', P .. args.part, args.from, 'COUNT', what == 'held' and EXAMINED or SCANNED)
    answer.from, answer.found = page[1], {}
    for i = 1, #page[2], 2 do visit(page[2][i], cjson.decode(page[2][i + 1])) end
end

-- Everything that is reserved on a switch, to be compared with what lives there.  What is damaged, or does not stand in
-- the sets where it belongs, is found here if nobody has met it.
function does.held()
    if args.part == 'agents' and args.from == '0' and not sets_stand() then error('damaged: a set of a queue') end
    some(args.part == 'agents' and function(name, agent)
        if not whole_agent(name, agent) or not agent_stands(name, agent) then error('damaged: agent ' .. name) end
        if agent.doing == 'talking' or agent.doing == 'offered' or next(agent.elsewhere) then
            answer.found[name] = {
                agent = name, doing = agent.doing, call = agent.call, offer = agent.offer, leg = agent.leg,
                switch = agent.switch, elsewhere = agent.elsewhere, since = (now - agent.since) / 1000,
                queue = agent.queue,
            }
        end
    end or function(call, caller)
        if not whole_caller(call, caller) or not caller_stands(call, caller) then error('damaged: caller ' .. call) end
        local alive = tonumber(redis.call('ZSCORE', PROCESSES, caller.owner) or '0') >= now
        answer.found[call] = {
            call = call, switch = caller.switch, owner = caller.owner, alive = alive, standing = caller.standing,
        }
    end)
end

-- Everything about a queue ("": about all), for people.
function does.look()
    some(function(name, one)
        local its = one.queue == args.queue
        if args.part == 'agents' then its = one.queues[args.queue] end
        if args.queue == '' or its then
            one[args.part == 'agents' and 'agent' or 'call'] = name
            answer.found[name] = one
        end
    end)
    answer.now, answer.queues = now / 1000, {}
    for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do answer.queues[queue] = staffed(queue) end
end

-- The process lives.  The company is "" here.
function does.beat()
    redis.call('ZADD', PROCESSES, now + ALIVE, args.process)
    redis.call('ZREMRANGEBYSCORE', PROCESSES, '-inf', now - 3600000)
    redis.call('ZREMRANGEBYSCORE', PROCESSES, '(' .. whole(now + ALIVE), '+inf')  -- nobody says so
    answer.generation = generation()
end

function does.companies()
    answer.companies = redis.call('SMEMBERS', 'cordboard:queue-companies')
end

function does.due()
    answer.due = {}
    for _, one in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, 100)) do
        if string.find(one, '^[a-z][a-z0-9-]*/%d+$') then
            answer.due[#answer.due + 1] = one
        else  -- it would be due for ever
            redis.call('ZREM', DUE, one)
        end
    end
end

-- What was done is not done again, and answers as it did.  But an entering whose answer was lost is done again while the
-- caller still stands so: meanwhile they may have been offered somebody, or been passed over for saying nothing.
if operation ~= '' then
    local known = text_at(P .. 'done:' .. operation)
    local caller = known and what == 'enter' and caller_of(args.call)
    if known and not (caller and caller.owner == args.owner and same(caller)) then return known end
    if known then  -- nor has anybody decided on the agents whom it made free
        for _, look in ipairs(cjson.decode(known).agents) do freed[look[1]] = true end
    end
end
does[what]()
answer.agents, answer.calls, answer.timers = {}, {}, {}
for call in pairs(seeking) do look_for_caller(call) end
for name in pairs(freed) do look_for_agent(name) end
for name, milliseconds in pairs(timers) do answer.timers[#answer.timers + 1] = {name, milliseconds} end
local text = cjson.encode(answer)
if operation ~= '' and not answer.unenrolled then redis.call('SET', P .. 'done:' .. operation, text, 'EX', KNOWN) end
return text

-- built: every job is in.
-- KEYS  1 anchor
-- Returns 1.
-- Uses: Keys, Clock, Const
redis.call('HSET', Keys.meta, 'built', string.format('v%s %.0f', Const.layout, Clock.now_ms('')))
redis.call('PUBLISH', Keys.wake, '')
return 1

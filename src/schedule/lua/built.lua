-- built: every job is in.
-- KEYS  1 anchor
-- Returns 1.
redis.call('HSET', META, 'built', now_ms(''))
redis.call('PUBLISH', P .. 'wake', '')
return 1

-- What keeps failing is tried again, ever more rarely, instead of leaving the schedule.

-- 'parked' stays allowed: a process of the version before may still write it while versions change.
ALTER TABLE jobs DROP CONSTRAINT jobs_state_check;
ALTER TABLE jobs ADD CONSTRAINT jobs_state_check
    CHECK (state IN ('active', 'paused', 'probing', 'parked')) NOT VALID;
ALTER TABLE jobs ADD COLUMN state_at timestamptz;  -- when it entered its state; null if that is not known

WITH parked AS (
    UPDATE jobs SET state = 'probing', state_at = coalesce(last_error_at, now()), version = version + 1
    WHERE state = 'parked' RETURNING provider, job_id)
INSERT INTO outbox (provider, job_id) SELECT provider, job_id FROM parked;

-- Whether a job probes its connection: of one whose credentials are refused, one job stays on the schedule.
CREATE FUNCTION is_probe(of_tenant bigint, of_connection bigint, of_job bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT of_job = (
        SELECT min(j.job_id) FROM devices d JOIN jobs j USING (tenant_id, device_id)
        WHERE d.tenant_id = of_tenant AND d.connection_id = of_connection AND j.state IN ('active', 'probing'))
$$;

-- Their jobs left the schedule: the probes return.
INSERT INTO outbox (provider, job_id)
SELECT c.provider, min(j.job_id) FROM connections c
JOIN devices d USING (tenant_id, connection_id) JOIN jobs j USING (tenant_id, device_id)
WHERE c.state = 'needs_reauth' AND j.state IN ('active', 'probing')
GROUP BY c.tenant_id, c.connection_id, c.provider;

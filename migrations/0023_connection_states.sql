-- A person pauses a connection, or closes it: its secrets are deleted, its devices and their history stay.

ALTER TABLE connections DROP CONSTRAINT connections_state_check;
ALTER TABLE connections ADD CONSTRAINT connections_state_check
    CHECK (state IN ('active', 'needs_reauth', 'paused', 'closed')) NOT VALID;

-- Of a connection that a person paused or closed, no job probes. Statements that mark a connection as refused read this
-- beside their update, while its state is still 'active'.
CREATE OR REPLACE FUNCTION is_probe(of_tenant bigint, of_connection bigint, of_job bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT of_job = (
        SELECT min(j.job_id) FROM devices d JOIN jobs j USING (tenant_id, device_id)
        WHERE d.tenant_id = of_tenant AND d.connection_id = of_connection AND j.state IN ('active', 'probing'))
       AND NOT EXISTS (
        SELECT FROM connections c
        WHERE c.tenant_id = of_tenant AND c.connection_id = of_connection AND c.state IN ('paused', 'closed'))
$$;

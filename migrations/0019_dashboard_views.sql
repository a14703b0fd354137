-- Views for people who point a dashboard at Postgres. They are stable: columns are added, none is renamed or removed.
-- docs/sql.md describes them.

-- Logins that may read the views, and whose data each sees.
CREATE TABLE sql_readers (
    role_name  text PRIMARY KEY,
    tenant_id  bigint NOT NULL REFERENCES tenants,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A view reads with the rights of its owner, and shows the tenant of who asks; nothing to anybody else. As barriers,
-- they show each condition of a query only rows of that tenant.
CREATE SCHEMA dashboard;

CREATE VIEW dashboard.devices WITH (security_barrier) AS
SELECT d.device_id, d.name AS device, c.provider, c.label AS connection, d.group_key AS "group", d.model,
       d.external_id, d.missing_since
FROM public.devices d JOIN public.connections c USING (tenant_id, connection_id)
WHERE d.tenant_id = (SELECT s.tenant_id FROM public.sql_readers s WHERE s.role_name = current_user);

-- The last good value of each, and how old it is.
CREATE VIEW dashboard.latest WITH (security_barrier) AS
SELECT d.device_id, d.name AS device, c.provider, c.label AS connection, l.resource, v.key AS value,
       l.fetched_at AS at, l.observed_at, l.online,
       CASE jsonb_typeof(v.value) WHEN 'number' THEN (v.value)::double precision
                                  WHEN 'boolean' THEN (v.value)::boolean::int::double precision END AS number,
       v.value #>> '{}' AS text
FROM public.latest l
JOIN public.devices d USING (tenant_id, device_id)
JOIN public.connections c USING (tenant_id, connection_id)
CROSS JOIN LATERAL jsonb_each(l."values") v
WHERE l.tenant_id = (SELECT s.tenant_id FROM public.sql_readers s WHERE s.role_name = current_user);

-- A row per change. It stands until the next one, whose gap_since tells since when nothing had been known.
CREATE VIEW dashboard.readings WITH (security_barrier) AS
SELECT r.device_id, r.resource, v.key AS value, r.fetched_at AS at, r.observed_at, r.online, r.gap_since,
       CASE jsonb_typeof(v.value) WHEN 'number' THEN (v.value)::double precision
                                  WHEN 'boolean' THEN (v.value)::boolean::int::double precision END AS number,
       v.value #>> '{}' AS text
FROM public.readings r CROSS JOIN LATERAL jsonb_each(r."values") v
WHERE r.tenant_id = (SELECT s.tenant_id FROM public.sql_readers s WHERE s.role_name = current_user);

-- A row per stretch of time in which something changed: level 5m, 1h or 1day.
CREATE VIEW dashboard.rollups WITH (security_barrier) AS
SELECT r.device_id, r.resource, v.key AS value, l.name AS level, r.bucket AS at,
       (v.value ->> 0)::bigint AS readings,
       CASE WHEN v.value ->> 1 <> '0' THEN (v.value ->> 2)::double precision / (v.value ->> 1)::bigint END AS avg,
       (v.value ->> 3)::double precision AS min, (v.value ->> 4)::double precision AS max,
       CASE WHEN v.value ->> 6 <> '0' THEN (v.value ->> 5)::double precision / (v.value ->> 6)::bigint END AS time_avg,
       v.value ->> 7 AS last, r.known_ms, r.offline_ms
FROM public.rollups r
JOIN (VALUES (1::smallint, '5m'), (2, '1h'), (3, '1day')) l (number, name) ON l.number = r.level
CROSS JOIN LATERAL jsonb_each(r."values") v
WHERE r.tenant_id = (SELECT s.tenant_id FROM public.sql_readers s WHERE s.role_name = current_user);

-- Safe for all: who is not among the readers sees no row.
GRANT USAGE ON SCHEMA dashboard TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA dashboard TO PUBLIC;

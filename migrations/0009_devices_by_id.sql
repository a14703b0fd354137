-- Operators name a device by its number alone.
CREATE INDEX devices_by_id ON devices (device_id);
-- Owners name it by the provider's id, whatever the connection.
CREATE INDEX devices_by_external_id ON devices (tenant_id, external_id);

-- Who named a device. A name that the provider's list of devices gave follows that list; one that the owner gave stays.
--
-- Of names stored before this nothing tells who gave them: their origin stays null, and they stay as the owner's do. As
-- soon as a list has the same name it is the provider's, and follows it from then on.
ALTER TABLE devices ADD COLUMN name_origin text CHECK (name_origin IN ('owner', 'provider'));

-- Devices that were removed. A list that has one of them does not add it again; adding it by hand deletes its row.
CREATE TABLE removed_devices (
    tenant_id     bigint NOT NULL,
    connection_id bigint NOT NULL,
    external_id   text NOT NULL,
    removed_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, connection_id, external_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, connection_id)
);

-- The device of a removed job (0 if it had none): what the cache holds of it is deleted when the row is drained.
ALTER TABLE outbox
    ADD COLUMN removed_tenant     bigint,
    ADD COLUMN removed_connection bigint,
    ADD COLUMN removed_device     bigint;

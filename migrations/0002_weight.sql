-- How a tenant's lanes weigh among lanes where they contend: twice the weight, twice the share.
ALTER TABLE tenants ADD COLUMN weight integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000);

-- Grows whenever a connection gets new secrets or a new grant: a refusal counts only against what was refused.
ALTER TABLE connections ADD COLUMN secrets_version bigint NOT NULL DEFAULT 1;

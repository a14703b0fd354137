ALTER TABLE incidents RENAME COLUMN heard TO called;

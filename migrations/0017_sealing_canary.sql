-- A known text, sealed by the first process that started: a process whose keys do not open it has another sealing key
-- than what is stored, and must not seal anything.
CREATE TABLE sealing_canary (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    sealed bytea NOT NULL
);

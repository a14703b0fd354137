-- When a job's failures were forgiven, so that a schedule that is built again does not count them.
ALTER TABLE jobs ADD COLUMN forgiven_at timestamptz;  -- null if never: a newer version forgives, in Redis too

CREATE FUNCTION note_forgiven() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.forgiven_at := now();
    RETURN NEW;
END
$$;
CREATE TRIGGER note_forgiven BEFORE UPDATE OF version ON jobs
FOR EACH ROW WHEN (NEW.version > OLD.version) EXECUTE FUNCTION note_forgiven();

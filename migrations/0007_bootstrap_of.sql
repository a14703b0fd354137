-- What was asked for the values in `bootstrap`: a definition that asks for others makes them be asked for again.
ALTER TABLE connections ADD COLUMN bootstrap_of text;

-- Whose server a file comes from, so that one slow server cannot take every place.
ALTER TABLE downloads
    ADD COLUMN host text NOT NULL DEFAULT '';

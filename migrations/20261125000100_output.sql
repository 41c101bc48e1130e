-- What Magic Hour says about the output of a project. NULL where it does not, or says that the value can be ignored (-1).
ALTER TABLE renders
    -- In pixels.
    ADD COLUMN width integer,
    ADD COLUMN height integer,
    -- An estimate until the render is complete.
    ADD COLUMN fps double precision,
    -- The part of the source that was rendered.
    ADD COLUMN start_seconds double precision,
    ADD COLUMN end_seconds double precision,
    -- How many images the project generates. Fewer rows in `downloads` are a shortage.
    ADD COLUMN image_count integer,
    -- Whether Magic Hour was asked for the files that are missing, and has no more.
    ADD COLUMN shortage_confirmed boolean NOT NULL DEFAULT false;

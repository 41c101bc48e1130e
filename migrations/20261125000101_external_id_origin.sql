-- EXTERNAL_ID_PATTERN sets the external id only where the application has not.
ALTER TABLE renders
    -- `application`: it has set or removed the external id. `name`: the pattern found it in the name. NULL: an external id
    -- is the application's.
    ADD COLUMN external_id_origin text
        CONSTRAINT renders_external_id_origin_known CHECK (external_id_origin IN ('application', 'name'));

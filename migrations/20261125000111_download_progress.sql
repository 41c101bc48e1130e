-- How far a transfer is, saved every few seconds while it runs. Only meaningful while the download is `downloading`.
ALTER TABLE downloads
    -- How many bytes of the file have passed.
    ADD COLUMN bytes_done bigint
        CONSTRAINT downloads_bytes_done_not_negative CHECK (bytes_done >= 0),
    -- The length of the file; NULL if its server does not say.
    ADD COLUMN bytes_total bigint;

-- Running totals for /metrics, updated in the transaction that changes what they count (`runtime::tallies`). Each total is
-- the sum of several rows (shards), so that concurrent transactions do not wait for one row.
CREATE TABLE tallies (
    -- Such as `renders.video.complete`.
    name text NOT NULL,
    shard smallint NOT NULL,
    -- numeric, because sums of reported values may exceed the range of integers.
    value numeric NOT NULL,
    PRIMARY KEY (name, shard)
) WITH (fillfactor = 50);

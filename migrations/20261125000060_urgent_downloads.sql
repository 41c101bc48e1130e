-- What /metrics asks about files that are not settled: when the first URL expires, and how many are being downloaded.
CREATE INDEX downloads_expiring ON downloads (expires_at) WHERE due_at IS NOT NULL;
CREATE INDEX downloads_downloading ON downloads (render_id) WHERE state = 'downloading';

-- For `inbox.keep_read`: finds the items that were read first. IF NOT EXISTS, because on a large inbox it may have been
-- built beforehand, without holding up writers (docs/operate.md).

CREATE INDEX IF NOT EXISTS inbox_read ON inbox (read_at) WHERE read_at IS NOT NULL;

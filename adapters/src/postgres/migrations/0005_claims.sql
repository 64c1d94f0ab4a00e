-- For a node that takes up what a stopped one left: by user, and by the moment at which it ends.

CREATE INDEX handover_by_user ON handover (user_id, seq);
CREATE INDEX handover_by_end  ON handover ((created_at + ttl * 1000));

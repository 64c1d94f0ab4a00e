-- Publishes a notification as part of the caller's transaction, and returns its id.
CREATE OR REPLACE FUNCTION doorstep.publish(
    user_id text,
    kind text,
    payload jsonb,
    topic text DEFAULT NULL,
    ttl integer DEFAULT NULL,
    policy text DEFAULT NULL,
    id uuid DEFAULT NULL,
    traceparent text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    called_at CONSTANT timestamptz := clock_timestamp();
    -- A UUIDv7 (RFC 9562): 48 bits of milliseconds, the version, the variant, and random bits.
    name CONSTANT uuid := coalesce($7, encode(set_bit(set_bit(overlay(
        uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM called_at) * 1000)::bigint) FROM 3)
        FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid);
BEGIN
    -- Before the sequence gives a number, the transaction has an id: the consumer tells by it which numbers below those
    -- that it has seen may still become visible.
    PERFORM pg_current_xact_id();
    INSERT INTO doorstep.outbox (id, user_id, kind, payload, topic, ttl, policy, traceparent, called_at)
    VALUES (name, $1, $2, $3, $4, $5, $6, $8, called_at);
    PERFORM pg_notify('doorstep_outbox', '');
    RETURN name;
END
$function$;
REVOKE ALL ON FUNCTION doorstep.publish(text, text, jsonb, text, integer, text, uuid, text) FROM PUBLIC;

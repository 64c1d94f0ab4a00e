DROP FUNCTION doorstep.publish(text, text, jsonb, text, integer, text, uuid, text);
DROP TABLE doorstep.outbox, doorstep.accepted, doorstep.rejected, doorstep.consumer, doorstep.installation;
DROP SCHEMA doorstep;

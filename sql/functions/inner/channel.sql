-- The channel of a queue. A channel's name has at most 63 bytes, 23 of which are the
-- prefix: a longer queue is announced under the hash of its name
-- (docs/decisions/0006-notify.md).
create function _procrastinate_channel(p_queue_name text)
returns text
language sql immutable strict parallel safe
return 'procrastinate_queue_v1#' || case
    when octet_length(p_queue_name) <= 40 then p_queue_name else md5(p_queue_name)
end;

comment on function _procrastinate_channel(text) is
'NOTIFY channel of a queue: its name, or the hash of a name over 40 bytes.';

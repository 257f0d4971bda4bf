-- A group is a lock that the database names: workers of 3.x keep to it as well
-- (docs/decisions/0095-a-group-is-a-lock.md). Null without a group, or without a queue.
create function _procrastinate_group_lock(p_queue_name text, p_group_key text)
returns text
language sql immutable parallel safe
return case
    when num_nulls(p_queue_name, p_group_key) = 0
        then 'group ' || jsonb_build_array(p_queue_name, p_group_key)::text
end;

comment on function _procrastinate_group_lock(text, text) is
'The lock of the jobs of one queue and group.';

-- The lock in whose line a waiting job stands just now: its own, but null for a job of a
-- group before its time, for others of the group may go first. In todo such a row has its
-- lock in due_lock.
create function _procrastinate_line_lock(
    p_lock text, p_group_key text, p_scheduled_at timestamptz, p_now timestamptz
)
returns text
language sql immutable parallel safe
return case
    when p_group_key is null or (p_scheduled_at > p_now) is not true then p_lock
end;

comment on function _procrastinate_line_lock(text, text, timestamptz, timestamptz) is
'The lock of a waiting job; null while a job of a group is delayed.';

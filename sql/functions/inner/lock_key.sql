-- The advisory key of a lock's value. Two values may share one: that costs a retry, never
-- correctness. Its body is bound when it is created, so it needs no search_path.
create function _procrastinate_lock_key(p_lock text)
returns bigint
language sql immutable strict parallel safe
return hashtextextended(p_lock, 'procrastinate_jobs'::regclass::oid::bigint);

comment on function _procrastinate_lock_key(text) is
'Advisory key that stands for a lock while somebody changes who holds it.';

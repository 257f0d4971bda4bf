-- The advisory key of a lock's value. Two values may share one: that costs a retry, never
-- correctness. Its body is bound when it is created, so it needs no search_path.
create function _procrastinate_lock_key(p_lock text)
returns bigint
language sql immutable strict parallel safe
return hashtextextended(p_lock, 'procrastinate_jobs'::regclass::oid::bigint);

comment on function _procrastinate_lock_key(text) is
'Advisory key that stands for a lock while somebody changes who holds it.';

-- Keys for "all locks": p_which 0 is shared by whoever takes single keys, 1 announces a bulk.
create function _procrastinate_all_locks_key(p_which integer)
returns bigint
language sql immutable strict parallel safe
return hashtextextended(
    '', 'procrastinate_jobs'::regclass::oid::bigint + 4294967296 * (p_which + 1)
);

comment on function _procrastinate_all_locks_key(integer) is
'Advisory key for all locks at once (0), or for the wish to have it (1).';

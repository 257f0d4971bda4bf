-- Keys for "all locks": p_which 0 is shared by whoever takes single keys, 1 announces a
-- bulk.
create function _procrastinate_all_locks_key(p_which integer)
returns bigint
language sql immutable strict parallel safe
return hashtextextended(
    '', 'procrastinate_jobs'::regclass::oid::bigint + 4294967296 * (p_which + 1)
);

comment on function _procrastinate_all_locks_key(integer) is
'Advisory key for all locks at once (0), or for the wish to have it (1).';

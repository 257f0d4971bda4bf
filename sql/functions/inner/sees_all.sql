-- Whether nobody but this transaction was writing when the snapshot was taken: it then
-- shows every job whose id was given before.
create function _procrastinate_sees_all(p_snapshot pg_snapshot)
returns boolean
language sql stable parallel safe
return
    pg_snapshot_xmin(p_snapshot) = pg_snapshot_xmax(p_snapshot)
    or (
        pg_snapshot_xmin(p_snapshot) = pg_current_xact_id_if_assigned()
        and pg_snapshot_xmin(p_snapshot)::text::bigint + 1
        = pg_snapshot_xmax(p_snapshot)::text::bigint
    );

comment on function _procrastinate_sees_all(pg_snapshot) is
'Whether nobody else was writing when this snapshot was taken.';

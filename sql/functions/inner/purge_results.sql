-- Deletes results past their time, a bounded number. Progress and meta of a job that lives
-- have no such time.
create function _procrastinate_purge_results(p_max_results integer)
returns bigint
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_purged bigint;
begin
    delete from procrastinate_results as r
    where r.job_id = any(array(
        select x.job_id
        from procrastinate_results as x
        where x.expires_at <= procrastinate_now()
        order by x.expires_at
        limit p_max_results
        for update skip locked
    ));
    get diagnostics v_purged = row_count;
    return v_purged;
end;
$$;

comment on function _procrastinate_purge_results(integer) is
'Deletes at most so many results that have expired; how many it were.';

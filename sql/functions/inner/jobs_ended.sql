-- doing -> ended: the rows of doing go, and the next of each lock comes forward.
create function _procrastinate_jobs_ended(p_job_ids bigint[], p_locks text[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_locks text[];
    v_priorities integer[];
    v_ids bigint[];
    v_xmins xid8[];
    v_claims bigint[];
    v_ok boolean;
begin
    if p_locks is null then
        delete from procrastinate_doing as d where d.job_id = any(p_job_ids);
        return true;
    end if;
    v_ok := _procrastinate_take_locks(p_locks);
    with gone as (
        delete from procrastinate_doing as d
        where d.job_id = any(p_job_ids)
        returning d.lock, d.priority, d.job_id, d.head_xmin, d.claim_id
    )
    select
        array_agg(g.lock), array_agg(g.priority), array_agg(g.job_id),
        array_agg(g.head_xmin), array_agg(g.claim_id)
    into v_locks, v_priorities, v_ids, v_xmins, v_claims
    from gone as g
    where g.lock is not null;
    if v_locks is not null then
        v_ok := _procrastinate_promote(v_locks, v_priorities, v_ids, v_xmins, v_claims);
    end if;
    return v_ok;
end;
$$;

comment on function _procrastinate_jobs_ended(bigint[], text[]) is
'Releases the claims of these jobs and promotes the next of each lock.';

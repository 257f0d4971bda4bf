-- A job's number is its address in every other table. Both lists are sorted, of one length:
-- told is the first job whose number has gone.
create function _procrastinate_refuse_ids(p_old bigint[], p_new bigint[])
returns boolean
language plpgsql volatile parallel unsafe
set search_path from current
as $$
declare
    v_old bigint;
    v_new bigint;
begin
    select min(o.id) into v_old
    from unnest(p_old) as o (id) left join unnest(p_new) as n (id) on n.id = o.id
    where n.id is null;
    select min(n.id) into v_new
    from unnest(p_new) as n (id) left join unnest(p_old) as o (id) on o.id = n.id
    where o.id is null;
    perform _procrastinate_raise(
        'PQ006',
        format('The id of job %s cannot be changed to %s', v_old, v_new),
        'Events, results and users'' own tables know the job by its id.',
        'Defer a new job instead.'
    );
    return false;
end;
$$;

comment on function _procrastinate_refuse_ids(bigint[], bigint[]) is
'Raises PQ006 (id change) for these ids before and after an UPDATE.';

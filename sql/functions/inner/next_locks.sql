-- The next locks that jobs wait for, in their order, each found by one look into the index:
-- however many jobs wait for one.
create function _procrastinate_next_locks(p_after text, p_max integer)
returns text[]
language plpgsql stable parallel safe
set search_path from current
as $$
declare
    v_locks text[] := '{}'::text[];
    v_lock text := p_after;
begin
    for i in 1 .. p_max loop
        v_lock := case
            when v_lock is null then (
                select t.lock
                from procrastinate_todo as t
                where t.lock is not null
                order by t.lock, ~t.priority, t.job_id
                limit 1
            )
            else (
                select t.lock
                from procrastinate_todo as t
                where t.lock > v_lock
                order by t.lock, ~t.priority, t.job_id
                limit 1
            )
        end;
        exit when v_lock is null;
        v_locks := v_locks || v_lock;
    end loop;
    return v_locks;
end;
$$;

comment on function _procrastinate_next_locks(text, integer) is
'At most so many locks that jobs wait for, after the one given; null: from the first.';

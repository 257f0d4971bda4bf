-- todo -> doing: a worker's next jobs.
create function procrastinate_fetch_jobs_v1(
    p_worker_id bigint,
    p_queues text[],
    p_limit integer,
    p_marks bigint[] default null
)
returns setof procrastinate_exchange_v1
language plpgsql volatile parallel unsafe
set search_path from current
as $$
begin
    return query
    select *
    from procrastinate_finish_and_fetch_v1(
        p_worker_id, p_queues, p_limit, p_marks, '{}', '{}', '{}', '{}'
    );
end;
$$;

comment on function procrastinate_fetch_jobs_v1(bigint, text[], integer, bigint[]) is
'todo -> doing for at most p_limit jobs, then a summary row. Raises PQ003, PQ004, PQ005.';

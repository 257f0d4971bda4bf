\ir ../../setup.psql
select plan(1);

select results_eq(
    $$
        select f::text || ' ' || t::text, _procrastinate_event_of(f, t)::text
        from unnest(enum_range(null::procrastinate_job_status)) as f
        cross join unnest(enum_range(null::procrastinate_job_status)) as t
        where _procrastinate_event_of(f, t) is not null
        order by f, t
    $$,
    $$values
        ('todo doing', 'started'), ('todo succeeded', 'cancelled'), ('todo failed', 'cancelled'),
        ('todo cancelled', 'cancelled'), ('doing todo', 'deferred_for_retry'),
        ('doing succeeded', 'succeeded'), ('doing failed', 'failed'), ('doing aborted', 'aborted'),
        ('failed todo', 'retried')
    $$,
    'the events of 3.x, and no other'
);

select * from finish();
rollback;

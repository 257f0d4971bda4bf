\ir ../../setup.psql
select plan(6);

create function fixtures.store(p_job bigint, p_claim bigint, p_worker bigint)
returns text
language sql volatile as $$
    select s.o_held::text || s.o_stored::text
    from _procrastinate_store_results(
        p_worker, array[p_job], array[p_claim], '{succeeded}', '{1}', '{}', procrastinate_now()
    ) as s
$$;
select job, claim, worker from a_job('doing') \gset
select is(store(:job, :claim, :worker), format('{%s}{}', :job), 'without a ttl nothing is kept');
update procrastinate_jobs set ttl = '-1 s' where id = :job;
select is(store(:job, :claim, :worker), format('{%s}{}', :job), 'nor with one below zero');
update procrastinate_jobs set ttl = '0' where id = :job;
select is(store(:job, :claim, :worker), format('{%s}{%s}', :job, :job), 'zero keeps it');
select is(
    store(:job, :claim + 1, :worker) || store(:job, :claim, a_worker()), '{}{}{}{}',
    'of another claim, or another worker''s, it keeps nothing'
);
select results_eq(
    'select result, status::text, expires_at from procrastinate_results',
    $$values ('1'::jsonb, 'succeeded', null::timestamptz)$$, 'for ever'
);

select procrastinate_unregister_worker_v2(:worker) \g /dev/null
select is(store(:job, :claim, :worker), format('{%s}{%s}', :job, :job), 'a worker that was pruned still has its claims');

select * from finish();
rollback;

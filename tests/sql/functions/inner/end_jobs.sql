\ir ../../setup.psql
select plan(4);

select a_worker() as worker \gset
select job as a, claim as ca from a_job('doing', p_worker => :worker) \gset
select job as b, claim as cb from a_job('doing', p_worker => :worker) \gset
select job as c, claim as cc from a_job('doing', p_worker => :worker) \gset
select set_eq(
    format(
        'select unnest(_procrastinate_end_jobs(%s, array[%s, %s, %s], array[%s, %s, %s],'
        ' ''{failed,succeeded,aborted}'', ''{false,true,null}''))',
        :worker, :c, :b, :a, :cc, :cb, :ca + 1000
    ),
    format('values (%s::bigint), (%s)', :b, :c),
    'it answers with those that it has ended or deleted'
);
select is(array[status_of(:a), status_of(:b), status_of(:c)], '{doing,null,failed}', 'and has');
select is(
    _procrastinate_end_jobs(:worker, '{}', '{}', '{}', '{}'), '{}', 'none is nothing, not null'
);
select is_sound();

select * from finish();
rollback;

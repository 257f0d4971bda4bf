\ir ../../setup.psql
select plan(35);

select a_worker() as worker \gset
create function fixtures.exchange(
    p_queues text[], p_limit integer, p_jobs bigint[], p_claims bigint[],
    p_statuses text[] default '{succeeded}', p_delete boolean[] default null
)
returns table (outcome text, job_id bigint, status text)
language sql volatile as $$
    select e.outcome, e.job_id, e.status::text
    from procrastinate_finish_and_fetch_v1(
        (select min(w.id) from procrastinate_workers as w), p_queues, p_limit, null,
        p_jobs, p_claims, p_statuses::procrastinate_job_status[], p_delete
    ) as e
$$;

-- One call ends what ran and starts what is next --------------------------------------------------------

select job, claim from a_job('doing', p_worker => :worker) \gset
select job as next from a_job() \gset
select results_eq(
    format('select * from exchange(null, 1, array[%s], array[%s])', :job, :claim),
    format($$values
        ('claimed', %s::bigint, 'doing'), ('summary', null, null)
    $$, :next),
    'an end that was applied is not answered, what was claimed is'
);
select is(status_of(:job), 'succeeded', 'the first job has ended');
select is(status_of(:next), 'doing', 'the next one runs');
select is((events_of(:job))[3:], '{succeeded}', 'with the event of an end');
select is(
    (select attempts from procrastinate_jobs where id = :job), 1, 'and its attempt counted'
);

select results_eq(
    format('select * from exchange(null, 1, array[%s, -3], array[%s, 1], ''{failed,failed}'')',
        :job, :claim),
    format($$values
        ('not_held', %s::bigint, 'succeeded'), ('not_held', -3, null), ('summary', null, null)
    $$, :job),
    'ends that changed nothing come back with what each job is now'
);
select claim_id as claim from procrastinate_doing where job_id = :next \gset
select results_eq(
    format('select * from exchange(null, 0, array[%s], array[%s])', :next, :claim),
    $$values ('summary', null::bigint, null)$$,
    'with no free slot it only ends, and the summary comes all the same'
);
select is(status_of(:next), 'succeeded', 'the job has ended');
select results_eq(
    $$select * from exchange(null, 5, '{}', '{}', '{}')$$,
    $$values ('summary', null::bigint, null)$$,
    'with nothing to report and nothing to fetch it is the summary alone'
);
select results_eq(
    $$select * from exchange(null, 5, null, null, null)$$,
    $$values ('summary', null::bigint, null)$$,
    'nulls report nothing'
);

-- The lock of the job that ends is free for the one that is fetched -----------------------------------------

select job, claim from a_job(
    'doing', p_queue_name => 'lock', p_lock => 'l', p_worker => :worker
) \gset
select job as next from a_job(p_queue_name => 'lock', p_lock => 'l') \gset
select job as last from a_job(p_queue_name => 'lock', p_lock => 'l') \gset
select is(fetched('{lock}'), '{}', 'the lock is held');
select is_empty(
    format($$
        select from exchange('{lock}', 5, array[%s], array[%s]) as e
        except
        select from (values (1)) as nothing
    $$, :job, :claim),
    'one call releases the lock'
);
select results_eq(
    format('select unnest(array[status_of(%s), status_of(%s), status_of(%s)])',
        :job, :next, :last),
    $$values ('succeeded'), ('doing'), ('todo')$$,
    'and gives it to the next, in order, and to nobody else'
);
select claim_id as claim from procrastinate_doing where job_id = :next \gset
select job as other, claim as other_claim from a_job(
    'doing', p_queue_name => 'other', p_lock => 'm', p_worker => :worker
) \gset
select results_eq(
    format($$
        select * from exchange(
            '{lock,other}', 5, array[%s, %s], array[%s, %s], '{failed,aborted}', '{true,false}'
        )
    $$, :next, :other, :claim, :other_claim),
    format($$values ('claimed', %s::bigint, 'doing'), ('summary', null, null)$$, :last),
    'ends of several kinds go together'
);
select is(status_of(:next), null, 'one is deleted');
select is(status_of(:other), 'aborted', 'one has ended');
select is_sound('exchanges leave the derived tables true');

-- The slot that an end frees may take the job itself ----------------------------------------------------------

select job as a from a_job(p_queue_name => 'self') \gset
create temp table got as
select * from procrastinate_fetch_jobs_v1(:worker, '{self}', 1);
select claim_id as claim from got where job_id = :a \gset
select (select marks from got where outcome = 'summary') as marks \gset
select is(
    (
        select array_agg(e.job_id)
        from procrastinate_finish_and_fetch_v1(
            :worker, '{self}', 1, :'marks', array[:a], array[:claim], '{succeeded}', null
        ) as e where e.outcome = 'claimed'
    ),
    null, 'a job that has just ended is not fetched'
);

-- Refusals, before anything is written ----------------------------------------------------------------------

select job, claim from a_job('doing', p_worker => :worker) \gset
select is(
    outcome_of(format(
        'select procrastinate_finish_and_fetch_v1(%s)',
        replace(replace(replace(r.arguments, 'W', :'worker'), 'J', :'job'), 'C', :'claim')
    )),
    r.code, r.why
)
from (
    values
        ('W, null, 1, null, array[J], array[C], ''{todo}'', null', 'PQ003', 'todo is no end'),
        ('W, null, 1, null, array[J], array[C], ''{cancelled}'', null', 'PQ003',
            'cancelled is none'),
        ('W, null, 1, null, array[J], ''{}'', ''{failed}'', null', 'PQ003',
            'each job has a claim'),
        ('W, null, -1, null, array[J], array[C], ''{failed}'', null', 'PQ003',
            'how many jobs is not negative'),
        ('W, null, null, null, array[J], array[C], ''{failed}'', null', 'PQ003', 'nor null'),
        ('null, null, 1, null, array[J], array[C], ''{failed}'', null', 'PQ003',
            'a worker has an id')
) as r (arguments, code, why);
select is(
    outcome_of(format(
        'select procrastinate_finish_and_fetch_v1(0, null, 1, null, array[%s], array[%s],'
        ' ''{failed}'', null)', :job, :claim
    )),
    'PQ004', 'a worker that is not registered claims nothing'
);
select is(status_of(:job), 'doing', 'whoever is refused has changed nothing');

-- triggers of a user's, at the statement that starts jobs
create function fixtures.meddle() returns trigger language plpgsql as $$
begin
    case
        when new.task_name = 'skip' and tg_when = 'BEFORE' then return null;
        when new.task_name = 'cancel' and tg_when = 'BEFORE' then new.status := 'cancelled';
        when new.task_name = 'relock' and tg_when = 'BEFORE' then new.lock := 'other';
        when new.task_name = 'end' and tg_when = 'AFTER' and new.status = 'doing' then
            update procrastinate_jobs as j set status = 'succeeded' where j.id = new.id;
        when new.task_name = 'defer' and tg_when = 'AFTER' and new.status = 'doing' then
            insert into procrastinate_jobs (queue_name, task_name) values ('child', 'nothing');
        else null;
    end case;
    return new;
end $$;
create trigger a_users_before before update on procrastinate_jobs
for each row when (new.queue_name = 'meddled') execute function fixtures.meddle();
create trigger a_users_after after update on procrastinate_jobs
for each row when (new.queue_name = 'meddled') execute function fixtures.meddle();
insert into procrastinate_jobs (queue_name, task_name, lock)
select 'meddled', t, t from unnest('{skip,cancel,relock,end,defer,nothing}'::text[]) as t;
select a_worker() as worker \gset
select count(*) as claimed from exchange('{meddled}', 10, '{}', '{}') as e
where e.outcome = 'claimed' \gset
select results_eq(
    $$
        select j.task_name::text, j.status::text, derived(j.id), events_of(j.id)
        from procrastinate_jobs as j
        where j.queue_name = 'meddled'
        order by j.id
    $$,
    $$values
        ('skip', 'todo', 'todo:ready', '{deferred}'::text[]),
        ('cancel', 'cancelled', null, '{deferred,cancelled}'),
        ('relock', 'doing', 'doing', '{deferred,started}'),
        ('end', 'succeeded', null, '{deferred,started,succeeded}'),
        ('defer', 'doing', 'doing', '{deferred,started}'),
        ('nothing', 'doing', 'doing', '{deferred,started}')
    $$,
    'a user''s triggers have a word in what starts'
);
select is(
    (select d.lock from procrastinate_doing as d join procrastinate_jobs as j on j.id = d.job_id
    where j.task_name = 'relock'), 'other', 'also in its lock'
);
select is(current_setting('procrastinate.derived'), '', 'the trigger is told nothing more');
select is_sound();

-- What a statement says of itself, that it derives, ends with it -------------------------------------------

create function fixtures.said_after(p_sql text) returns text language plpgsql
set procrastinate.derived = '7' as $$
begin
    execute p_sql;
    return current_setting('procrastinate.derived');
end $$;
set local procrastinate.derived = '';
select job, claim, worker from a_job('doing') \gset
select is(
    said_after(format(
        'select procrastinate_finish_and_fetch_v1(%s, null, 0, null, array[%s], array[%s],'
        ' ''{succeeded}'', null)', :worker, :job, :claim
    )),
    '7', 'what the statement around it had said stands again'
);
select is(status_of(:job), 'succeeded', 'the job has ended');
select is(
    current_setting('procrastinate.derived'), '', 'and nothing outlasts that one, nor its transaction'
);

-- What a claim knows of its line ---------------------------------------------------------------------

select job as first from a_job(p_queue_name => 'line', p_lock => 'line') \gset
select job as second from a_job(p_queue_name => 'line', p_lock => 'line') \gset
select job_id, claim_id from procrastinate_finish_and_fetch_v1(
    (select min(w.id) from procrastinate_workers as w), '{line}', 1, null, '{}', '{}', '{}', null
) where outcome = 'claimed' \gset
select is(
    (select d.head_xmin <= pg_snapshot_xmin(pg_current_snapshot()) from procrastinate_doing as d
    where d.job_id = :first), true,
    'who is claimed as the first of its line says what was seen of that, so that it need not be read again'
);
select job as ahead from a_job(p_queue_name => 'line', p_lock => 'line', p_priority => 5) \gset
select results_eq(
    format('select * from exchange(''{line}'', 1, array[%s], array[%s])', :job_id, :claim_id),
    format($$values ('claimed', %s::bigint, 'doing'), ('summary', null, null)$$, :ahead),
    'who has joined ahead since is found all the same'
);

select * from finish();
rollback;

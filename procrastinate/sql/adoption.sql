-- What adopting the schema of 3.x needs for as long as it lasts. Until the switch only the
-- one process that adopts writes what is derived; clients of 3.x leave a note of each job
-- that they change: docs/decisions/0090-adoption.md.

-- swap --
-- A call of a function that returns a row of procrastinate_jobs fails if a column comes while
-- it runs, and its worker ends. So clients get a row of another type, which stays as it is.
-- What has been called already keeps its function, by another name.
do $$
declare
    v_columns text;
    v_copies text;
    v_old record;
begin
    select
        string_agg(
            format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)),
            ', ' order by a.attnum
        ),
        string_agg(format('v_row.%1$I := v_job.%1$I;', a.attname), ' ' order by a.attnum)
    into v_columns, v_copies
    from pg_attribute as a
    where
        a.attrelid = 'procrastinate_jobs'::regclass
        and a.attnum > 0 and not a.attisdropped;
    execute format('create type procrastinate_adoption_job as (%s)', v_columns);
    for v_old in
        select
            p.oid::regprocedure as signature, p.proname as name,
            pg_get_function_arguments(p.oid) as arguments,
            (
                select string_agg('$' || n, ', ' order by n)
                from generate_series(1, p.pronargs) as n
            ) as given
        from pg_proc as p
        where
            p.pronamespace = quote_ident(current_schema())::regnamespace
            and p.prorettype = 'procrastinate_jobs'::regtype and not p.proretset
            and p.proname ~ '^procrastinate_fetch_job'
    loop
        execute format(
            'alter function %s rename to %I', v_old.signature, v_old.name || '_adopted'
        );
        execute format(
            'create function %I(%s) returns procrastinate_adoption_job language plpgsql '
            'set search_path from current as %L',
            v_old.name, v_old.arguments,
            format(
                'declare v_job procrastinate_jobs; v_row procrastinate_adoption_job; begin '
                'v_job := %I(%s); %s return v_row; end;',
                v_old.name || '_adopted', v_old.given, v_copies
            )
        );
    end loop;
end;
$$;

-- begin --
create table procrastinate_adoption (
    job_id bigint not null,  -- jobs up to this one are derived
    began_at timestamptz not null default now()
);

create table procrastinate_adoption_notes (
    job_id bigint not null,
    queue_name varchar(128) not null,
    status procrastinate_job_status not null,
    jobs integer not null  -- 1 for what came, -1 for what went
);

create unlogged table procrastinate_adoption_batch (
    job_id bigint not null,
    queue_name varchar(128) not null,
    priority integer not null,
    lock text,
    queueing_lock text,
    status procrastinate_job_status not null,
    scheduled_at timestamptz,
    worker_id bigint
);

-- Security definer: whoever may write jobs need not have heard of an adoption.
create function _procrastinate_adoption_note()
returns trigger
language plpgsql volatile parallel unsafe security definer
set search_path from current
as $$
begin
    if tg_op = 'TRUNCATE' then
        truncate procrastinate_todo, procrastinate_doing, procrastinate_counts,
            procrastinate_adoption_notes;
        return null;
    end if;
    if tg_op <> 'INSERT' then
        insert into procrastinate_adoption_notes (job_id, queue_name, status, jobs)
        select o.id, o.queue_name, o.status, -1 from old_jobs as o;
    end if;
    if tg_op <> 'DELETE' then
        insert into procrastinate_adoption_notes (job_id, queue_name, status, jobs)
        select n.id, n.queue_name, n.status, 1 from new_jobs as n;
    end if;
    return null;
end;
$$;

-- Derives the next jobs, and anew those that were changed since. What is read and which
-- notes are taken is one statement, with one snapshot: after it all jobs up to the mark are
-- derived as they were then, and every later change has left a note that is still there.
create function _procrastinate_adopt(p_most bigint)
returns bigint
language plpgsql volatile parallel unsafe
set search_path from current
set enable_seqscan = off
set jit = off
as $$
declare
    v_from bigint;
    v_to bigint;
    v_noted bigint[];
    v_legacy bigint[];
    v_looked_at bigint;
begin
    select a.job_id into v_from from procrastinate_adoption as a for update;
    select coalesce(max(x.id), v_from), count(*) into v_to, v_looked_at
    from (
        select j.id from procrastinate_jobs as j
        where j.id > v_from order by j.id limit p_most
    ) as x;

    -- a label of 2.x; in two steps, for 3.0 keeps a trigger that ties one to the other
    with legacy as (
        update procrastinate_jobs as j
        set status = 'doing'
        where
            j.status = 'aborting'
            and (
                (j.id > v_from and j.id <= v_to)
                or j.id = any(array(
                    select n.job_id from procrastinate_adoption_notes as n
                    where n.status = 'aborting'
                ))
            )
        returning j.id
    )
    select array_agg(l.id) into v_legacy from legacy as l;
    if v_legacy is not null then
        update procrastinate_jobs as j set abort_requested = true where j.id = any(v_legacy);
    end if;

    with taken as (
        delete from procrastinate_adoption_notes as n
        returning n.job_id, n.queue_name, n.status, n.jobs
    ),
    counted as (
        insert into procrastinate_counts (queue_name, status, jobs)
        select x.queue_name, x.status, sum(x.jobs)
        from (
            select j.queue_name, j.status, count(*) as jobs
            from procrastinate_jobs as j
            where j.id > v_from and j.id <= v_to and j.status > 'doing'
            group by j.queue_name, j.status
            union all
            select t.queue_name, t.status, t.jobs
            from taken as t
            where t.job_id <= v_from and t.status > 'doing'
        ) as x
        group by x.queue_name, x.status
        having sum(x.jobs) <> 0
    ),
    staged as (
        insert into procrastinate_adoption_batch (
            job_id, queue_name, priority, lock, queueing_lock, status, scheduled_at,
            worker_id
        )
        select
            j.id, j.queue_name, j.priority, j.lock, j.queueing_lock, j.status,
            j.scheduled_at, j.worker_id
        from procrastinate_jobs as j
        where j.id > v_from and j.id <= v_to and j.status in ('todo', 'doing')
        union all
        select
            j.id, j.queue_name, j.priority, j.lock, j.queueing_lock, j.status,
            j.scheduled_at, j.worker_id
        from procrastinate_jobs as j
        where
            j.id = any(array(select t.job_id from taken as t where t.job_id <= v_from))
            and j.status in ('todo', 'doing')
    )
    select array_agg(distinct t.job_id) into v_noted from taken as t;

    delete from procrastinate_todo as t where t.job_id = any(v_noted);
    delete from procrastinate_doing as d where d.job_id = any(v_noted);
    insert into procrastinate_todo (
        job_id, since, scheduled_at, priority, state, queue_name, lock, queueing_lock
    )
    select
        b.job_id, case when b.lock is not null then pg_current_xact_id() end,
        b.scheduled_at, b.priority,
        -- ready though its lock may be held: the first fetch that meets it parks it
        case when b.scheduled_at > now() then 'd' else 'r' end::"char",
        b.queue_name, b.lock, b.queueing_lock
    from procrastinate_adoption_batch as b
    where b.status = 'todo'
    order by b.queueing_lock, b.job_id;
    insert into procrastinate_doing (job_id, worker_id, started_at, priority, lock)
    select
        b.job_id, b.worker_id,
        coalesce((
            select e.at from procrastinate_events as e
            where e.job_id = b.job_id and e.type = 'started'
            order by e.id desc limit 1
        ), now()),
        b.priority, b.lock
    from procrastinate_adoption_batch as b
    where b.status = 'doing'
    order by b.job_id;
    perform _procrastinate_note_priority(p.queue_name, p.priority)
    from (
        select distinct b.queue_name, b.priority
        from procrastinate_adoption_batch as b where b.status = 'todo'
    ) as p;
    truncate procrastinate_adoption_batch;
    update procrastinate_adoption as a set job_id = v_to where a.job_id <> v_to;
    return v_looked_at;
end;
$$;

-- note --
create trigger procrastinate_adoption_inserted
after insert on procrastinate_jobs
referencing new table as new_jobs
for each statement execute function _procrastinate_adoption_note();

create trigger procrastinate_adoption_updated
after update on procrastinate_jobs
referencing old table as old_jobs new table as new_jobs
for each statement execute function _procrastinate_adoption_note();

create trigger procrastinate_adoption_deleted
after delete on procrastinate_jobs
referencing old table as old_jobs
for each statement execute function _procrastinate_adoption_note();

create trigger procrastinate_adoption_truncated
after truncate on procrastinate_jobs
for each statement execute function _procrastinate_adoption_note();

-- end --
drop trigger procrastinate_adoption_inserted on procrastinate_jobs;
drop trigger procrastinate_adoption_updated on procrastinate_jobs;
drop trigger procrastinate_adoption_deleted on procrastinate_jobs;
drop trigger procrastinate_adoption_truncated on procrastinate_jobs;
drop function _procrastinate_adoption_note();
drop function _procrastinate_adopt(bigint);
drop table procrastinate_adoption, procrastinate_adoption_notes, procrastinate_adoption_batch;

-- grant --
-- Whoever was let write the jobs of 3.x could do all that its functions do, which ran with
-- the caller's rights and were open to everybody. Ours run with them as well.
do $$
declare
    v_role record;
    v_name text;
begin
    for v_name in
        select format('grant execute on function %s to %s', n.oid::regprocedure, quote_ident(r.rolname))
        from pg_proc as o
        cross join lateral aclexplode(o.proacl) as x
        join pg_roles as r on r.oid = x.grantee and r.oid <> o.proowner
        join pg_proc as n
            on
                n.pronamespace = o.pronamespace and n.proname || '_adopted' = o.proname
                and n.proargtypes = o.proargtypes
        where o.pronamespace = quote_ident(current_schema())::regnamespace
    loop
        execute v_name;
    end loop;
    for v_role in
        select
            x.grantee,
            case x.grantee when 0 then 'public' else quote_ident(r.rolname) end as name,
            bool_or(x.privilege_type = 'UPDATE') as may_update,
            bool_or(x.privilege_type = 'DELETE') as may_delete
        from (
            select c.relowner, c.relacl as acl from pg_class as c
            where c.oid = 'procrastinate_jobs'::regclass
            union all
            select c.relowner, a.attacl from pg_class as c
            join pg_attribute as a on a.attrelid = c.oid
            where c.oid = 'procrastinate_jobs'::regclass and a.attacl is not null
        ) as t
        cross join lateral aclexplode(t.acl) as x
        left join pg_roles as r on r.oid = x.grantee
        where
            x.grantee <> t.relowner and x.privilege_type in ('INSERT', 'UPDATE', 'DELETE')
        group by x.grantee, r.rolname
    loop
        for v_name in
            select p.oid::regprocedure::text
            from pg_proc as p
            where
                p.pronamespace = quote_ident(current_schema())::regnamespace
                and p.proname ~ '^procrastinate_' and p.prokind = 'f'
                and case  -- they run as the owner: no more than the role could do by itself
                    when v_role.may_update
                        then v_role.may_delete or p.proname not in (
                            'procrastinate_purge_jobs', 'procrastinate_retire_jobs_v1',
                            'procrastinate_repair'
                        )
                    else p.proname in (
                        select r.function_name from _procrastinate_rights() as r
                        where r.role = 'producer'
                    )
                end
                and p.proname <> 'procrastinate_create_roles'
        loop
            execute format('grant execute on function %s to %s', v_name, v_role.name);
        end loop;
        for v_name in
            select c.oid::regclass::text
            from pg_class as c
            where
                v_role.may_update
                and c.relnamespace = quote_ident(current_schema())::regnamespace
                and c.relname ~ '^procrastinate_' and c.relkind in ('r', 'v')
                and c.relname not in (
                    'procrastinate_jobs', 'procrastinate_events', 'procrastinate_workers',
                    'procrastinate_periodic_defers', 'procrastinate_migrations'
                )
        loop
            execute format(
                'grant select on %s to %s', v_name, v_role.name
            );
        end loop;
    end loop;
end;
$$;

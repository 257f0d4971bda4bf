\ir ../../setup.psql
select plan(11);

select make_roles() \g /dev/null
create view fixtures.parts as
select p.part, role_of(p.part) as name
from unnest(array['producer', 'worker', 'operator', 'auditor']) as p (part);

create view fixtures.ours as
select
    c.oid, c.relname::text as name, c.relkind, quote_ident(a.attname) as a_column
from pg_class as c
join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where
    c.relnamespace = quote_ident(current_schema())::regnamespace
    and c.relname ^@ 'procrastinate_' and c.relkind in ('r', 'v', 'S');
create view fixtures.readable as
select p.name as role, r.relation, quote_ident(c.name) as a_column
from _procrastinate_rights_on_tables() as r
join parts as p on p.part = r.role
cross join lateral unnest(r.columns) as c (name);

select is_empty(
    format(
        $$select o.name, o.a_column from ours as o
        where (
            select r.role from readable as r
            where (r.role, r.relation, r.a_column) = (%1$L, o.name, o.a_column)
        ) is null
        and outcome_of(format('select %%s from %%I limit 1', o.a_column, o.name), %1$L)
            <> '42501'$$, name),
    format('a column that is not a %s''s to read is refused', part)
)
from parts;
select is_empty(
    format(
        $$select o.name, s.verb from (select distinct name, relkind from ours) as o
        cross join lateral (values
            ('insert', format('insert into %%I default values', o.name)),
            ('update', format('update %%I set %%s = null', o.name, (
                select max(x.a_column) from ours as x where x.name = o.name))),
            ('delete', format('delete from %%I', o.name)),
            ('truncate', format('truncate %%I', o.name)),
            ('lock', format('lock table %%I in access exclusive mode', o.name)),
            ('drop', format('drop table %%I', o.name)),
            ('alter', format('alter table %%I add evil text', o.name)),
            ('trigger', format('create trigger t before insert on %%I for each row '
                'execute function suppress_redundant_updates_trigger()', o.name)),
            ('rule', format('create rule r as on insert to %%I do instead nothing', o.name)),
            ('index', format('create index on %%I (%%s)', o.name, (
                select max(x.a_column) from ours as x where x.name = o.name))),
            ('policy', format('create policy p on %%I', o.name))
        ) as s (verb, statement)
        where o.relkind = 'r' and outcome_of(s.statement, %L) <> '42501'$$, name),
    format('a %s changes no table of ours', part)
)
from parts;
select is_empty(
    format(
        $$select o.name, s.statement from (
            select distinct name from ours where relkind = 'S') as o
        cross join lateral (values
            (format('select nextval(%%L)', o.name)), (format('select setval(%%L, 1)', o.name)),
            (format('select currval(%%L)', o.name))
        ) as s (statement)
        cross join parts as p
        where outcome_of(s.statement, p.name) not in ('42501', '55000')$$),
    'nobody draws a number'
);
select is_empty(
    $$select * from readable as r
    where outcome_of(format('select %s from %I limit 1', r.a_column, r.relation), r.role) <> 'ok'$$,
    'what may be read can be'
);
select is_empty(
    $$select r.a_column from readable as r
    where r.role ^@ 'procrastinate_producer'
        or (r.role ^@ 'procrastinate_auditor' and r.a_column
            in ('args', 'result', 'error', 'details', 'meta', 'description'))
            and r.relation <> 'procrastinate_workers'$$,
    'a producer reads nothing, an auditor nothing that a task was given or gave back'
);

select * from finish();
rollback;

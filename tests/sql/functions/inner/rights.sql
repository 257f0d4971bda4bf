\ir ../../setup.psql
select plan(8);

select make_roles() \g /dev/null
create view fixtures.parts as
select p.part, role_of(p.part) as name
from unnest(array['producer', 'worker', 'operator', 'auditor']) as p (part);

-- each function with nulls for arguments; a strict one is not called with them at all
create view fixtures.calls as
select
    p.oid, p.proname::text as name, p.proisstrict as is_strict,
    format('select %I(%s)', p.proname, (
        select string_agg('null::' || format_type(a.type, null), ', ' order by a.nr)
        from unnest(p.proargtypes) with ordinality as a (type, nr)
    )) as call
from pg_proc as p
where
    p.pronamespace = quote_ident(current_schema())::regnamespace
    and p.proname ~ '^_?procrastinate_' and p.prorettype <> 'trigger'::regtype
    and not has_function_privilege('public', p.oid, 'execute');

select is_empty(
    format(
        $$select call from calls
        where not exists (
            select from _procrastinate_rights() as r
            where r.role = %1$L and r.function_name = calls.name
        )
        and case when is_strict then has_function_privilege(%2$L, oid, 'execute')
            else outcome_of(call, %2$L) is distinct from '42501' end$$, part, name),
    format('a function that is not a %s''s is refused to it', part)
)
from parts;
select is_empty(
    format(
        $$select r.function_name from _procrastinate_rights() as r
        left join calls on calls.name = r.function_name
        where r.role = %L
            and has_function_privilege(%L, calls.oid, 'execute') is distinct from true$$,
        part, name),
    format('a %s may call all that is its own', part)
)
from parts;

select * from finish();
rollback;

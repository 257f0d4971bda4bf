-- What the current schema holds of ours: a row for each object, with its definition in
-- words that are the same on every supported server and in every schema. Nothing here names
-- an oid, a schema or a column's number.
with home as (
    select n.oid, quote_ident(n.nspname) as name
    from pg_catalog.pg_namespace as n
    where n.nspname = current_schema()
),

relations as (
    select c.*
    from pg_catalog.pg_class as c
    inner join home on c.relnamespace = home.oid
    where c.relname ~ '^_?procrastinate'
),

-- Tables, views and composite types: what has columns of its own.
shaped as (
    select r.*
    from relations as r
    where r.relkind in ('r', 'p', 'v', 'm', 'c')
),

types as (
    select t.*
    from pg_catalog.pg_type as t
    inner join home on t.typnamespace = home.oid
    where t.typname ~ '^_?procrastinate' and t.typtype in ('e', 'd')
),

functions as (
    select
        p.*,
        p.proname || '(' || pg_catalog.oidvectortypes(p.proargtypes) || ')' as signature
    from pg_catalog.pg_proc as p
    inner join home on p.pronamespace = home.oid
    where p.proname ~ '^_?procrastinate'
),

constraints as (
    select c.*, coalesce(r.relname, t.typname) as owner
    from pg_catalog.pg_constraint as c
    left join relations as r on c.conrelid = r.oid
    left join types as t on c.contypid = t.oid
    -- Not null is told with its column: servers before 18 have no constraint for it.
    where coalesce(r.oid, t.oid) is not null and c.contype not in ('n', 't')
),

triggers as (
    select t.*, r.relname as owner
    from pg_catalog.pg_trigger as t
    inner join relations as r on t.tgrelid = r.oid
    where not t.tgisinternal
),

kinds (relkind, name) as (
    values
        ('r'::"char", 'table'), ('p', 'table'), ('v', 'view'), ('m', 'materialized view'),
        ('c', 'type'), ('S', 'sequence'), ('i', 'index'), ('I', 'index')
),

-- What can carry a comment, by the name that it has in this description.
named (class, oid, part, name) as (
    select 'pg_class'::regclass, r.oid, 0, kinds.name || ' ' || r.relname
    from relations as r
    inner join kinds on r.relkind = kinds.relkind
    where r.relkind <> 'c'
    union all
    select 'pg_class'::regclass, r.oid, a.attnum, 'column ' || r.relname || '.' || a.attname
    from shaped as r
    inner join pg_catalog.pg_attribute as a on r.oid = a.attrelid
    where a.attnum > 0 and not a.attisdropped
    union all
    select 'pg_type'::regclass, t.oid, 0, 'type ' || t.typname
    from types as t
    union all
    select 'pg_type'::regclass, r.reltype, 0, 'type ' || r.relname
    from relations as r
    where r.relkind = 'c'
    union all
    select 'pg_proc'::regclass, f.oid, 0, 'function ' || f.signature
    from functions as f
    union all
    select 'pg_constraint'::regclass, c.oid, 0, 'constraint ' || c.owner || '.' || c.conname
    from constraints as c
    union all
    select 'pg_trigger'::regclass, t.oid, 0, 'trigger ' || t.owner || '.' || t.tgname
    from triggers as t
),

described (name, definition) as (
    select
        kinds.name || ' ' || r.relname,
        concat_ws(
            '; ',
            'persistence ' || nullif(r.relpersistence::text, 'p'),
            case r.relkind when 'p' then 'partitioned' end,
            'replica identity ' || r.relreplident::text,
            case when r.relrowsecurity then 'row security' end,
            (
                select 'with ' || string_agg(o.setting, ', ' order by o.setting collate "C")
                from (
                    select unnest(r.reloptions) as setting
                    union all
                    select 'toast.' || unnest(toast.reloptions)
                    from pg_catalog.pg_class as toast
                    where toast.oid = r.reltoastrelid
                ) as o
            )
        )
    from relations as r
    inner join kinds on r.relkind = kinds.relkind
    where r.relkind in ('r', 'p')

    union all
    -- Servers differ in blanks, brackets and in whether they name the table of a column.
    select
        kinds.name || ' ' || r.relname,
        concat_ws(
            '; ',
            'with ' || array_to_string(r.reloptions, ', '),
            'query ' || encode(
                sha256(
                    convert_to(
                        regexp_replace(
                            pg_get_viewdef(r.oid, true),
                            '\m[a-z_][a-z0-9_]*\.|[\s()]', '', 'g'
                        ),
                        'UTF8'
                    )
                ),
                'hex'
            )
        )
    from relations as r
    inner join kinds on r.relkind = kinds.relkind
    where r.relkind in ('v', 'm')

    union all
    select
        'type ' || r.relname,
        'row of ' || string_agg(
            a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' order by a.attnum
        )
    from relations as r
    inner join pg_catalog.pg_attribute as a on r.oid = a.attrelid
    where r.relkind = 'c' and a.attnum > 0 and not a.attisdropped
    group by r.relname

    union all
    select
        'type ' || t.typname,
        case t.typtype
            when 'e' then (
                select 'enum of ' || string_agg(e.enumlabel, ', ' order by e.enumsortorder)
                from pg_catalog.pg_enum as e
                where e.enumtypid = t.oid
            )
            else concat_ws(
                ' ',
                'domain over', format_type(t.typbasetype, t.typtypmod),
                case when t.typnotnull then 'not null' end,
                'default ' || t.typdefault
            )
        end
    from types as t

    union all
    select
        'column ' || r.relname || '.' || a.attname,
        concat_ws(
            ' ',
            format_type(a.atttypid, a.atttypmod),
            case
                when a.attcollation <> t.typcollation
                    then 'collate ' || a.attcollation::regcollation
            end,
            case when a.attnotnull then 'not null' end,
            case a.attidentity
                when 'a' then 'generated always as identity'
                when 'd' then 'generated by default as identity'
            end,
            case a.attgenerated when '' then 'default ' else 'generated as ' end
            || pg_get_expr(d.adbin, d.adrelid, true),
            'storage ' || nullif(a.attstorage::text, t.typstorage::text),
            'statistics ' || nullif(coalesce(a.attstattarget, -1), -1),
            'with ' || array_to_string(a.attoptions, ', ')
        )
    from shaped as r
    inner join pg_catalog.pg_attribute as a on r.oid = a.attrelid
    inner join pg_catalog.pg_type as t on a.atttypid = t.oid
    left join pg_catalog.pg_attrdef as d on a.attrelid = d.adrelid and a.attnum = d.adnum
    where r.relkind <> 'c' and a.attnum > 0 and not a.attisdropped

    union all
    select
        'constraint ' || c.owner || '.' || c.conname,
        pg_get_constraintdef(c.oid, true)
    from constraints as c

    -- Also those with a name of somebody else's: an index on our table costs our writers.
    union all
    select
        'index ' || i.relname,
        pg_get_indexdef(i.oid, 0, true)
        || case when x.indisvalid then '' else ' INVALID' end
    from pg_catalog.pg_index as x
    inner join relations as r on x.indrelid = r.oid
    inner join pg_catalog.pg_class as i on x.indexrelid = i.oid

    union all
    select
        'sequence ' || r.relname,
        concat_ws(
            ' ',
            format_type(s.seqtypid, null), 'start', s.seqstart, 'increment', s.seqincrement,
            'from', s.seqmin, 'to', s.seqmax, 'cache', s.seqcache,
            case when s.seqcycle then 'cycle' end,
            'owned by ' || (
                select o.relname || '.' || a.attname
                from pg_catalog.pg_depend as d
                inner join pg_catalog.pg_class as o on d.refobjid = o.oid
                inner join pg_catalog.pg_attribute as a
                    on d.refobjid = a.attrelid and d.refobjsubid = a.attnum
                where
                    d.classid = 'pg_class'::regclass and d.objid = r.oid
                    and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
            )
        )
    from relations as r
    inner join pg_catalog.pg_sequence as s on r.oid = s.seqrelid

    union all
    select
        'function ' || f.signature,
        concat_ws(
            '; ',
            '(' || pg_get_function_arguments(f.oid) || ')'
            || coalesce(' returns ' || pg_get_function_result(f.oid), ''),
            concat_ws(
                ' ',
                l.lanname,
                case f.prokind when 'p' then 'procedure' when 'a' then 'aggregate' end,
                case f.provolatile
                    when 'i' then 'immutable' when 's' then 'stable' else 'volatile'
                end,
                'parallel', case f.proparallel
                    when 's' then 'safe' when 'r' then 'restricted' else 'unsafe'
                end,
                case when f.proisstrict then 'strict' end,
                case when f.prosecdef then 'security definer' end,
                case when f.proleakproof then 'leakproof' end,
                'cost ' || f.procost,
                'rows ' || nullif(f.prorows, 0)
            ),
            (
                select
                    string_agg(
                        case
                            when starts_with(setting, 'search_path=') then
                                regexp_replace(setting, '=.*', '=')
                                || replace(
                                    ',' || replace(split_part(setting, '=', 2), ' ', ''),
                                    ',' || replace(home.name, ' ', ''), 'this schema'
                                )
                            else setting
                        end, '; ' order by setting collate "C"
                    )
                from unnest(f.proconfig) as setting, home
            ),
            'body ' || encode(
                sha256(
                    convert_to(coalesce(pg_get_function_sqlbody(f.oid), f.prosrc), 'UTF8')
                ), 'hex'
            )
        )
    from functions as f
    inner join pg_catalog.pg_language as l on f.prolang = l.oid

    union all
    select
        'trigger ' || t.owner || '.' || t.tgname,
        pg_get_triggerdef(t.oid, true)
        || coalesce(' ENABLED ' || nullif(t.tgenabled::text, 'O'), '')
    from triggers as t

    union all
    select 'comment on ' || n.name, d.description
    from named as n
    inner join pg_catalog.pg_description as d
        on n.class = d.classoid and n.oid = d.objoid and n.part = d.objsubid

    -- What anybody may do. Whom an administrator let in is not ours.
    union all
    select
        'rights of public on ' || o.name,
        string_agg(x.privilege_type, ', ' order by x.privilege_type collate "C")
    from (
        select
            kinds.name || ' ' || r.relname as name,
            coalesce(
                r.relacl,
                acldefault(
                    case r.relkind when 'S' then 's' else 'r' end::"char", r.relowner
                )
            ) as acl
        from relations as r
        inner join kinds on r.relkind = kinds.relkind
        where r.relkind in ('r', 'p', 'v', 'm', 'S')
        union all
        select 'column ' || r.relname || '.' || a.attname, a.attacl
        from shaped as r
        inner join pg_catalog.pg_attribute as a on r.oid = a.attrelid
        where a.attacl is not null
        union all
        select 'function ' || f.signature, coalesce(f.proacl, acldefault('f', f.proowner))
        from functions as f
        union all
        select 'type ' || t.typname, coalesce(t.typacl, acldefault('T', t.typowner))
        from types as t
    ) as o
    cross join lateral aclexplode(o.acl) as x
    where x.grantee = 0
    group by o.name
)

select described.name as object, coalesce(described.definition, '') as definition
from described
order by described.name collate "C";
